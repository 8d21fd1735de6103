// The `model.moe.balance` section. Keys and defaults: docs/config.md.
#pragma once

#include "switchyard/config/fields.h"

namespace switchyard::moe {

enum class BalanceKind { switch_loss, z_loss, bias };
constexpr auto names_of(BalanceKind) { return config::names("switch", "z_loss", "bias"); }
constexpr auto unbuilt_names_of(BalanceKind) { return config::names("hf_pooled", "sequence"); }
enum class BalanceScope { micro_batch, sequence, global_batch };
constexpr auto names_of(BalanceScope) { return config::names("micro_batch", "sequence", "global_batch"); }
enum class BiasRule { automatic, sign, proportional };
constexpr auto names_of(BiasRule) { return config::names("auto", "sign", "proportional"); }

// One entry of `balance`.
struct BalanceConfig {
  BalanceKind kind = BalanceKind::switch_loss;
  BalanceScope scope = BalanceScope::micro_batch;
  double coefficient = 0.0;
  double rate = 1e-3;
  BiasRule rule = BiasRule::automatic;

  bool is_loss() const { return kind != BalanceKind::bias; }
  void fields(auto& f) {
    f("kind", kind, "Switch loss, router z-loss, or loss-free bias", {.required = true});
    f("scope", scope, "tokens over which frequencies and mean scores are taken",
      {.applies = kind == BalanceKind::switch_loss, .only_for = "kind switch"});
    f("coefficient", coefficient, "weight of the loss",
      {.min = 0, .required = true, .applies = is_loss(), .only_for = "kinds switch and z_loss"});
    f("rate", rate, "step of the bias per optimizer step", {.min = 0, .applies = !is_loss(), .only_for = "kind bias"});
    f("rule", rule, "auto: sign for sigmoid, proportional on (mean - c) / mean for softmax",
      {.applies = !is_loss(), .only_for = "kind bias"});
  }
  bool operator==(const BalanceConfig&) const = default;
};

}  // namespace switchyard::moe
