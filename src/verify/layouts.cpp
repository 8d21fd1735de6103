// Enumeration; the config's own rules say what fits.
#include "switchyard/verify/layouts.h"

#include "switchyard/parallel/mesh.h"

#include <algorithm>
#include <utility>

namespace switchyard::verify {
namespace {

using parallel::DispatcherKind;

std::vector<int64_t> divisors(int64_t n) {
  std::vector<int64_t> found;
  for (int64_t d = 1; d <= n; ++d)
    if (n % d == 0) found.push_back(d);
  return found;
}

// The nodes of the first ranks, as training would see them.
std::vector<int> nodes_of(const train::ExperimentConfig& config, const Layout& layout, std::vector<int> nodes) {
  nodes.resize(static_cast<size_t>(layout.ranks()));
  const int64_t each = in_layout(config, layout).parallel.ranks_per_node;
  for (size_t i = 0; each > 0 && i < nodes.size(); ++i) nodes[i] = static_cast<int>(static_cast<int64_t>(i) / each);
  return nodes;
}

bool is_one_node(const std::vector<int>& nodes) {
  return std::ranges::all_of(nodes, [&](int node) { return node == nodes.front(); });
}

// Every group of ranks that share the experts spans nodes as the hierarchical dispatcher wants it.
bool spans_nodes(const Layout& l, const std::vector<int>& nodes) {
  const int64_t share = l.expert * l.expert_tensor;
  const parallel::Layout experts({{"edp", l.ranks() / share}, {"ep", l.expert}, {"etp", l.expert_tensor}});
  for (int64_t rank = 0; rank < l.ranks(); ++rank)
    if (parallel::ranks_on_each_node(experts.peers(rank, {"ep"}), nodes) == 0) return false;
  return true;
}

// Those that differ: on many ranks with whole experts nothing travels, so `local` stands for all.
std::vector<DispatcherKind> dispatchers_for(const Layout& layout) {
  if (layout.expert == 1 && layout.ranks() > 1) return {DispatcherKind::local};
  std::vector<DispatcherKind> kinds;
  for (size_t i = 0; i < names_of(DispatcherKind{}).size(); ++i) {
    const auto kind = static_cast<DispatcherKind>(i);
    const bool fits_one_rank = kind != DispatcherKind::hierarchical, fits_many = kind != DispatcherKind::local;
    if (kind != DispatcherKind::automatic && (layout.expert == 1 ? fits_one_rank : fits_many)) kinds.push_back(kind);
  }
  return kinds;
}

std::string why_not(const train::ExperimentConfig& config, const Layout& layout, const std::vector<int>& nodes) {
  try {
    train::check_world(in_layout(config, layout), layout.ranks());
  } catch (const Error& error) {
    return error.what();
  }
  if (layout.dispatcher != DispatcherKind::hierarchical || spans_nodes(layout, nodes_of(config, layout, nodes)))
    return "";
  return "parallel.dispatcher: hierarchical is for experts split over several nodes with as many ranks each";
}

void add_dispatchers(const train::ExperimentConfig& config, Layout layout, const std::vector<int>& nodes,
                     Layouts& found) {
  std::string last_reason;
  bool needs_zero_0 = true;
  for (const DispatcherKind kind : dispatchers_for(layout)) {
    layout.dispatcher = kind;
    layout.ranks_per_node = 0;
    if (kind == DispatcherKind::hierarchical && is_one_node(nodes_of(config, layout, nodes)))
      layout.ranks_per_node = layout.expert_tensor * (layout.expert % 2 == 0 ? layout.expert / 2 : 1);
    std::string reason = why_not(config, layout, nodes);
    if (!reason.empty()) {
      if (reason != last_reason) found.misfit.push_back({layout, reason});
      last_reason = std::move(reason);
      continue;
    }
    if (layout != Layout{}) found.fit.push_back(layout);
    if (!std::exchange(needs_zero_0, false)) continue;
    found.fit.push_back(layout);
    found.fit.back().zero = 0;
  }
}

}  // namespace

std::string Layout::degrees() const {
  return fmt::format("dp {} tp {} ep {} etp {}", data, tensor, expert, expert_tensor);
}

std::string Layout::name() const { return fmt::format("{} {} zero {}", degrees(), config::name(dispatcher), zero); }

train::ExperimentConfig in_layout(train::ExperimentConfig config, const Layout& layout) {
  parallel::ParallelConfig& p = config.parallel;
  p.data = layout.data;
  p.tensor = layout.tensor;
  p.expert = layout.expert;
  p.expert_tensor = layout.expert_tensor;
  p.zero = layout.zero;
  p.dispatcher = layout.dispatcher;
  if (layout.ranks_per_node > 0) p.ranks_per_node = layout.ranks_per_node;
  if (layout.ranks() == 1) p.ranks_per_node = 0;  // one rank has no nodes to be divided into
  return config;
}

Layouts layouts_of(const train::ExperimentConfig& config, const std::vector<int>& nodes) {
  Layouts found;
  for (const int64_t n : divisors(std::ssize(nodes)))
    for (const int64_t tensor : divisors(n))
      for (const int64_t expert : divisors(n))
        for (const int64_t expert_tensor : divisors(n / expert))
          add_dispatchers(config,
                          {.data = n / tensor, .tensor = tensor, .expert = expert, .expert_tensor = expert_tensor},
                          nodes, found);
  return found;
}

}  // namespace switchyard::verify
