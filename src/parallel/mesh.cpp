// Sizes from the config, groups from the layouts.
#include "switchyard/parallel/mesh.h"

#include "switchyard/base/error.h"
#include "switchyard/base/units.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <set>

namespace switchyard::parallel {
namespace {

Layout dense_layout(const ParallelConfig& c, int64_t data) {
  return Layout({{"pp", c.pipeline}, {"dp", data}, {"cp", c.context}, {"tp", c.tensor}});
}

std::optional<Mesh::NodeGroups> groups_by_node(const comm::Group& group, const comm::World& world) {
  const std::vector<int>& ranks = group.ranks();
  const auto each = static_cast<size_t>(ranks_on_each_node(ranks, world.nodes()));
  if (each == 0) {  // others may split
    world.split({}), world.split({});
    return std::nullopt;
  }
  const size_t own = static_cast<size_t>(group.rank()), place = own % each;
  std::vector<int> inside, across;
  for (size_t i = own - place; i < own - place + each; ++i) inside.push_back(ranks[i]);
  for (size_t i = place; i < ranks.size(); i += each) across.push_back(ranks[i]);
  return Mesh::NodeGroups{world.split(inside), world.split(across)};
}

}  // namespace

Layout expert_layout(const ParallelConfig& c, int64_t world_size) {
  const int64_t ranks = check_world(c, world_size) * c.context * c.tensor, experts = c.expert * c.expert_tensor;
  return Layout({{"pp", c.pipeline}, {"edp", ranks / experts}, {"ep", c.expert}, {"etp", c.expert_tensor}});
}

int64_t ranks_on_each_node(const std::vector<int>& ranks, const std::vector<int>& nodes) {
  const auto node = [&](size_t i) { return nodes[static_cast<size_t>(ranks[i])]; };
  size_t each = 1;  // ranks on the first node
  while (each < ranks.size() && node(each) == node(0)) ++each;
  if (each >= ranks.size() || ranks.size() % each != 0) return 0;
  std::set<int> spanned;
  for (size_t i = 0; i < ranks.size(); ++i) {
    if (node(i) != node(i / each * each)) return 0;
    spanned.insert(node(i));
  }
  return spanned.size() * each == ranks.size() ? static_cast<int64_t>(each) : 0;
}

Mesh::Mesh(const ParallelConfig& config, comm::World& world)
    : dense_layout_(dense_layout(config, check_world(config, world.size()))),
      expert_layout_(expert_layout(config, world.size())),
      world_(world),
      all_(world.all()),
      data_(world.split(dense_layout_.peers(world.rank(), {"dp", "cp"}))),
      tensor_(world.split(dense_layout_.peers(world.rank(), {"tp"}))),
      tokens_(world.split(dense_layout_.peers(world.rank(), {"dp", "cp", "tp"}))),
      expert_(world.split(expert_layout_.peers(world.rank(), {"ep"}))),
      expert_tensor_(world.split(expert_layout_.peers(world.rank(), {"etp"}))),
      expert_nodes_(groups_by_node(expert_, world)) {}

Mesh::Part Mesh::part(const nn::Placement& placement, const nn::Shard& shard, int64_t rank) const {
  const Layout& view = layout(placement.view);
  const int64_t ranks = view.axis_size(shard.axis);
  const int64_t parts = shard.max_parts == 0 ? ranks : std::min(ranks, shard.max_parts);
  require(ranks % parts == 0, ExitCode::usage, "{} ranks of axis {} cannot hold {} parts equally often", ranks,
          shard.axis, parts);
  return {view.coordinate(rank, shard.axis) * parts / ranks, parts};
}

const comm::Group& Mesh::replicas(const nn::Placement& placement) const {
  const Layout& view = layout(placement.view);
  std::vector<int> ranks;
  for (int rank = 0; rank < all_.size(); ++rank) {
    bool is_replica = view.coordinate(rank, "pp") == view.coordinate(all_.rank(), "pp");
    for (const nn::Shard& shard : placement.shards)
      is_replica = is_replica && part(placement, shard, rank) == part(placement, shard);
    if (is_replica) ranks.push_back(rank);
  }
  const auto found = replicas_.find(ranks);
  return found != replicas_.end() ? found->second : replicas_.emplace(ranks, world_.split(ranks)).first->second;
}

std::string Mesh::describe() const {
  auto size = [&](nn::View view, std::string_view axis) { return layout(view).axis_size(axis); };
  const int64_t tensor = size(nn::View::dense, "tp"), shared_by = size(nn::View::expert, "etp");
  return fmt::format("{}: data {}{}, experts split over {}{}, each held by {}", plural(all_.size(), "rank"),
                     size(nn::View::dense, "dp"), tensor > 1 ? fmt::format(", tensor {}", tensor) : "",
                     size(nn::View::expert, "ep"), shared_by > 1 ? fmt::format(" x {}", shared_by) : "",
                     size(nn::View::expert, "edp"));
}

std::string Mesh::expert_by_node() const {
  std::vector<int> nodes;
  for (const int rank : expert_.ranks()) nodes.push_back(world_.nodes()[static_cast<size_t>(rank)]);
  return fmt::format("ranks {} are on nodes {}", fmt::join(expert_.ranks(), " "), fmt::join(nodes, " "));
}

}  // namespace switchyard::parallel
