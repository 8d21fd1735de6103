// Groups of experts that are those of the machine: a token limited to few of them visits few ranks, or nodes.
//   E experts; a unit is an expert rank (its expert-tensor peers count as one) or a node
#pragma once

#include "switchyard/moe/config.h"
#include "switchyard/parallel/layout.h"

#include <vector>

namespace switchyard::moe {

// `config` with its groups as the machine has them: `groups.count`, if it is 0, is the number of units. Unchanged with
// tie_to: none. `nodes`: node of every rank. Throws Error(usage), with the groups and the map of the machine, unless
// every copy of the experts is on `count` units, each of which, in rank order, holds one group.
MoeConfig tie_groups(const MoeConfig& config, const parallel::Layout& experts, const std::vector<int>& nodes);

}  // namespace switchyard::moe
