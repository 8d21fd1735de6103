// Two views of the same ranks ("folding"): dense layers see pp x dp x cp x tp, experts see pp x edp x ep x etp. A Mesh
// is where this rank stands in both, and the groups it communicates in.
#pragma once

#include "switchyard/comm/world.h"
#include "switchyard/nn/parameter.h"
#include "switchyard/parallel/config.h"
#include "switchyard/parallel/layout.h"

#include <map>
#include <optional>

namespace switchyard::parallel {

// The ranks as experts see them. Throws Error(usage), with both numbers, if the sizes do not fit the world.
Layout expert_layout(const ParallelConfig& config, int64_t world_size);

// Of a group of several nodes, each with as many of its ranks, one after the other: how many. 0 for any other group.
// nodes: (world) node of each rank.
int64_t ranks_on_each_node(const std::vector<int>& ranks, const std::vector<int>& nodes);

class Mesh {
 public:
  // Throws Error(usage), with both numbers, if the sizes do not fit the world. Every rank of the world calls it.
  Mesh(const ParallelConfig& config, comm::World& world);

  const comm::Group& all() const { return all_; }
  const comm::Group& data() const { return data_; }      // ranks with different samples
  const comm::Group& tensor() const { return tensor_; }  // ranks that share the dense layers, and the same samples
  const comm::Group& tokens() const { return tokens_; }  // data x tensor: between layers each holds other tokens
  const comm::Group& expert() const { return expert_; }  // ranks the experts of a layer are split over
  const comm::Group& expert_tensor() const { return expert_tensor_; }  // ranks that share the same experts
  // The expert group seen by node: its ranks on this rank's node, and those at this rank's place on every node. Only
  // where it spans several nodes, each with as many of its ranks, one after the other.
  struct NodeGroups {
    comm::Group inside, across;
  };
  const std::optional<NodeGroups>& expert_nodes() const { return expert_nodes_; }
  // Ranks that hold the same box of a parameter: its gradient is summed over them. The first call with a placement is
  // made by all ranks of the world, in the same order.
  const comm::Group& replicas(const nn::Placement& placement) const;

  // Which of the parts of a shard a rank holds, and of how many. Throws Error(usage) if parts and axis do not fit.
  struct Part {
    int64_t index, count;
    bool operator==(const Part&) const = default;
  };
  Part part(const nn::Placement& placement, const nn::Shard& shard, int64_t rank) const;
  Part part(const nn::Placement& placement, const nn::Shard& shard) const {
    return part(placement, shard, all_.rank());
  }

  const Layout& layout(nn::View view) const { return view == nn::View::dense ? dense_layout_ : expert_layout_; }
  const std::vector<int>& nodes() const { return world_.nodes(); }  // of every rank of the world
  int64_t coordinate(nn::View view, std::string_view axis) const { return layout(view).coordinate(all_.rank(), axis); }
  std::string describe() const;        // one line for the log and for checkpoints
  std::string expert_by_node() const;  // ranks of the expert group and their nodes, for messages

 private:
  Layout dense_layout_, expert_layout_;
  comm::World world_;
  comm::Group all_, data_, tensor_, tokens_, expert_, expert_tensor_;
  std::optional<NodeGroups> expert_nodes_;
  mutable std::map<std::vector<int>, comm::Group> replicas_;  // by ranks: groups are made when first asked for
};

}  // namespace switchyard::parallel
