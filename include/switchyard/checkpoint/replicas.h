// Replicas hold the same bits: reductions give every member the same, and the same arithmetic follows. Where they do
// not, a rank has computed, sent or remembered wrongly.
#pragma once

#include "switchyard/comm/group.h"
#include "switchyard/tensor/tensor.h"

#include <span>
#include <string>
#include <utility>
#include <vector>

namespace switchyard::checkpoint {

// What every member of a group holds alike.
struct Replicas {
  comm::Group group;
  std::vector<std::pair<std::string, Tensor>> tensors;  // by name, in the same order on every member; contiguous
};

// Collective over `all`, which every group is a part of: each member hashes its tensors (XXH3-128) and compares with
// the first of its group. Throws Error(hardware) on every rank, naming the step, the first tensor that differs and both
// ranks.
void require_equal_replicas(const comm::Group& all, std::span<const Replicas> replicas, int64_t step);

}  // namespace switchyard::checkpoint
