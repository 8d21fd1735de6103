// The `model.moe.balance` section. Keys and defaults: docs/config.md.
#pragma once

#include "switchyard/config/fields.h"

namespace switchyard::moe {

enum class BalanceKind { switch_loss, hf_pooled, sequence, z_loss, bias };
constexpr auto names_of(BalanceKind) { return config::names("switch", "hf_pooled", "sequence", "z_loss", "bias"); }
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
  bool has_scope() const { return kind == BalanceKind::switch_loss || kind == BalanceKind::hf_pooled; }
  void fields(auto& f) {
    f("kind", kind,
      "Switch loss, the same as transformers pools it over layers, DeepSeek-V3's loss of a sequence, router z-loss, or "
      "loss-free bias",
      {.required = true});
    f("scope", scope, "tokens over which frequencies and mean scores are taken; of hf_pooled micro_batch",
      {.applies = has_scope(), .only_for = "kinds switch and hf_pooled"});
    f("coefficient", coefficient, "weight of the loss",
      {.min = 0, .required = true, .applies = is_loss(), .only_for = "all kinds but bias"});
    f("rate", rate, "step of the bias per optimizer step", {.min = 0, .applies = !is_loss(), .only_for = "kind bias"});
    f("rule", rule, "auto: sign for sigmoid, proportional on (mean - c) / mean for softmax",
      {.applies = !is_loss(), .only_for = "kind bias"});
  }
  void validate() const;
  bool operator==(const BalanceConfig&) const = default;
};

}  // namespace switchyard::moe
