// Arithmetic on the layout of the experts and the nodes of ranks; every rank comes to the same result by itself.
#include "switchyard/moe/tied_groups.h"

#include <fmt/ranges.h>

#include <algorithm>

namespace switchyard::moe {
namespace {

// One copy of the experts, split into equal parts in expert order: the ranks that hold each, expert-tensor peers.
using Copy = std::vector<std::vector<int>>;

std::string experts_of(int64_t index, int64_t parts, int64_t num_experts) {
  const int64_t begin = index * num_experts / parts, end = (index + 1) * num_experts / parts;
  return end - begin == 1 ? fmt::format("expert {}", begin) : fmt::format("experts {}-{}", begin, end - 1);
}

class Tie {
 public:
  Tie(const MoeConfig& config, const parallel::Layout& experts, const std::vector<int>& nodes)
      : config_(config), groups_(config.router.groups), nodes_(nodes) {
    for (int64_t rank = 0; rank < experts.num_ranks(); ++rank) {
      if (experts.coordinate(rank, "ep") != 0 || experts.coordinate(rank, "etp") != 0) continue;  // the first of a copy
      Copy& copy = copies_.emplace_back();
      for (const int holder : experts.peers(rank, {"ep"})) copy.push_back(experts.peers(holder, {"etp"}));
    }
  }

  int64_t num_units() const {
    const auto first = units_of(copies_.front());
    for (const Copy& copy : copies_)
      if (units_of(copy) != first) refuse(copy, "copies of the experts lie differently");
    return first.back() + 1;
  }

  [[noreturn]] void refuse_count(int64_t units) const {
    const std::string_view unit = config::name(groups_.tie_to);
    refuse(copies_.front(), groups_.count > units ? fmt::format("a {} holds several groups", unit)
                                                  : fmt::format("a group lies on several {}s", unit));
  }
  [[noreturn]] void refuse(const Copy& copy, const std::string& why) const {
    std::string text;
    for (int64_t g = 0; g < groups_.count; ++g)
      text += fmt::format("\n  group {}: {}", g, experts_of(g, groups_.count, config_.num_experts));
    for (size_t part = 0; part < copy.size(); ++part)
      text += fmt::format("\n  {}: {}", places_of(copy[part]),
                          experts_of(static_cast<int64_t>(part), std::ssize(copy), config_.num_experts));
    fail(ExitCode::usage, "model.moe.router.groups do not match the machine (count={}, tie_to: {}): {}{}",
         groups_.count, config::name(groups_.tie_to), why, text);
  }

 private:
  std::vector<int> nodes_of(const std::vector<int>& ranks) const {
    std::vector<int> found;
    for (const int rank : ranks)
      if (const int node = nodes_.at(static_cast<size_t>(rank)); std::ranges::find(found, node) == found.end())
        found.push_back(node);
    return found;
  }
  std::string places_of(const std::vector<int>& ranks) const {
    return fmt::format("rank {} on node {}", fmt::join(ranks, ", "), fmt::join(nodes_of(ranks), ", "));
  }

  // The unit of each part, numbered in rank order. Every unit holds as many experts, one after the other.
  std::vector<int64_t> units_of(const Copy& copy) const {
    std::vector<int64_t> units;
    std::vector<int> met;  // nodes, or ranks
    for (const std::vector<int>& ranks : copy) {
      const std::vector<int> nodes = nodes_of(ranks);
      if (nodes.size() > 1) refuse(copy, "the shards of one expert lie on several nodes");
      const int unit = groups_.tie_to == TieTo::node ? nodes.front() : ranks.front();
      if (std::ranges::find(met, unit) == met.end()) met.push_back(unit);
      units.push_back(std::ranges::find(met, unit) - met.begin());
    }
    if (!std::ranges::is_sorted(units)) refuse(copy, "a node holds experts from several places");
    for (int64_t unit = 0; unit < std::ssize(met); ++unit)
      if (std::ranges::count(units, unit) * std::ssize(met) != std::ssize(units))
        refuse(copy, "nodes hold different numbers of experts");
    return units;
  }

  const MoeConfig& config_;
  const GroupsConfig& groups_;
  const std::vector<int>& nodes_;
  std::vector<Copy> copies_;
};

}  // namespace

MoeConfig tie_groups(const MoeConfig& config, const parallel::Layout& experts, const std::vector<int>& nodes) {
  MoeConfig tied = config;
  int64_t& count = tied.router.groups.count;
  if (config.router.groups.tie_to == TieTo::none) return tied;
  const Tie tie(config, experts, nodes);
  const int64_t units = tie.num_units();
  if (count == 0) count = units;
  if (count != units) tie.refuse_count(units);
  try {
    tied.validate();
  } catch (const config::Invalid& rule) {
    fail(ExitCode::usage, "model.moe.{} (router.groups.count is taken from the machine)", rule.what());
  }
  return tied;
}

}  // namespace switchyard::moe
