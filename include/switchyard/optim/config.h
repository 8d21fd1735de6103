// The `optimizer` and `schedule` sections. Keys and defaults: docs/config.md.
#pragma once

#include "switchyard/config/fields.h"

#include <array>
#include <vector>

namespace switchyard::optim {

enum class OptimizerKind { adamw };
constexpr auto names_of(OptimizerKind) { return config::names("adamw"); }

struct OptimizerConfig {
  OptimizerKind kind = OptimizerKind::adamw;
  std::array<double, 2> betas = {0.9, 0.95};
  double eps = 1e-8;
  double weight_decay = 0.1;

  void fields(auto& f) {
    f("kind", kind, "AdamW with decoupled weight decay");
    f("betas", betas, "decay of the first and second moment", {.min = 0, .max = 1});
    f("eps", eps, "added to the root of the second moment", {.above = 0});
    f("weight_decay", weight_decay, "per unit of learning rate; not on norms, biases and other 1-D weights",
      {.min = 0});
  }
  void validate() const;
  bool operator==(const OptimizerConfig&) const = default;
};

enum class ScheduleKind { constant, linear, cosine, wsd, step, inverse_sqrt };
constexpr auto names_of(ScheduleKind) {
  return config::names("constant", "linear", "cosine", "wsd", "step", "inverse_sqrt");
}

struct ScheduleConfig {
  ScheduleKind kind = ScheduleKind::cosine;
  double lr = 1e-3;
  int64_t warmup_steps = 20;
  double min_lr = 1e-4;
  int64_t decay_steps = 0;
  std::vector<int64_t> boundaries = {};
  double factor = 0.1;

  void fields(auto& f) {
    f("kind", kind, "how the learning rate changes after warm-up");
    f("lr", lr, "largest learning rate", {.min = 0});
    f("warmup_steps", warmup_steps, "steps of linear warm-up from 0", {.min = 0});
    f("min_lr", min_lr, "learning rate at the end of linear, cosine and wsd", {.min = 0});
    f("decay_steps", decay_steps, "last steps, with a linear decay to min_lr",
      {.min = 1, .required = true, .applies = kind == ScheduleKind::wsd, .only_for = "kind wsd"});
    f("boundaries", boundaries, "steps after which the rate is multiplied by factor",
      {.min = 1, .required = true, .applies = kind == ScheduleKind::step, .only_for = "kind step"});
    f("factor", factor, "what each boundary multiplies the rate by",
      {.above = 0, .applies = kind == ScheduleKind::step, .only_for = "kind step"});
  }
  void validate() const;
  bool operator==(const ScheduleConfig&) const = default;
};

}  // namespace switchyard::optim
