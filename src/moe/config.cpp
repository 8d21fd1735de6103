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

void BalanceConfig::validate() const {
  config::expect(kind != BalanceKind::hf_pooled || scope == BalanceScope::micro_batch, "scope",
                 "'{}': the function that hf_pooled is sees one pass of all layers; accepted: micro_batch",
                 config::name(scope));
}

void RouterConfig::validate() const {
  config::expect(score == RouterScore::softmax || score_order == ScoreOrder::before, "score_order",
                 "'after' is a property of softmax scores; with score: sigmoid only 'before' is accepted");
}

namespace {

// The kept groups must hold what a token chooses. Without a count the rest waits for the map that it is taken from.
void expect_groups(const MoeConfig& c) {
  const GroupsConfig& groups = c.router.groups;
  const int64_t count = groups.count, keep = groups.keep;
  config::expect(groups.tie_to == TieTo::none || groups.mask == GroupMask::neg_inf, "router.groups.mask",
                 "'zero' lets an expert of another group win, which tie_to={} rules out; accepted: neg_inf",
                 config::name(groups.tie_to));
  config::expect(count > 0 || groups.tie_to != TieTo::none, "router.groups.count",
                 "0 is taken from the map, and tie_to: none has no map; accepted: 1 or more, or tie_to: rank or node");
  if (count == 0) return;
  config::expect(c.num_experts % count == 0, "num_experts", "{} is not a multiple of router.groups.count={}",
                 c.num_experts, count);
  config::expect(keep <= count, "router.groups.keep", "{} exceeds count={}", keep, count);
  const int64_t size = c.num_experts / count;
  config::expect(groups.score != GroupScore::top2_sum || count == 1 || size >= 2, "router.groups.score",
                 "'top2_sum' needs two experts in a group, but num_experts={} in count={} groups have {}",
                 c.num_experts, count, size);
  config::expect(c.top_k <= keep * size, "top_k", "{} exceeds the {} experts of router.groups.keep={} groups of {}",
                 c.top_k, keep * size, keep, size);
}

}  // namespace

void MoeConfig::validate() const {
  config::expect(top_k <= num_experts, "top_k", "{} exceeds num_experts={}", top_k, num_experts);
  expect_groups(*this);
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
