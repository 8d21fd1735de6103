// Rules between the keys of `model.moe`.
#include "switchyard/moe/config.h"

#include <algorithm>

namespace switchyard::moe {

bool LayerPattern::contains(int64_t layer) const {
  return layer >= first && (layer - first) % every == 0 && std::ranges::find(except, layer) == except.end();
}

const BalanceConfig* MoeConfig::bias() const {
  const auto found = std::ranges::find(balance, BalanceKind::bias, &BalanceConfig::kind);
  return found == balance.end() ? nullptr : &*found;
}

std::string MoeConfig::loss_name(const BalanceConfig& entry) const {
  const std::string_view kind = config::name(entry.kind);
  if (std::ranges::count(balance, entry.kind, &BalanceConfig::kind) == 1) return std::string(kind);
  return fmt::format("{}.{}", kind, config::name(entry.scope));
}

void RouterConfig::validate() const {
  config::expect(score == RouterScore::softmax || score_order == ScoreOrder::before, "score_order",
                 "'after' is a property of softmax scores; with score: sigmoid only 'before' is accepted");
}

void MoeConfig::validate() const {
  config::expect(top_k <= num_experts, "top_k", "{} exceeds num_experts={}", top_k, num_experts);
  for (const BalanceConfig& entry : balance) {
    const auto is_alike = [&](const BalanceConfig& other) {
      return other.kind == entry.kind && other.scope == entry.scope;
    };
    config::expect(
        std::ranges::count_if(balance, is_alike) == 1, "balance",
        "more than one entry of kind {}{}; one of them is enough", config::name(entry.kind),
        entry.kind == BalanceKind::switch_loss ? fmt::format(" and scope {}", config::name(entry.scope)) : "");
  }
}

}  // namespace switchyard::moe
