// Rows that arrive from several ranks, each rank's grouped by local expert: where they lie when all are grouped by
// expert.
//   e experts on this rank, P sources, R rows
#pragma once

#include "switchyard/moe/dispatcher.h"

namespace switchyard::moe {

// counts_Pe: rows from each source for each local expert. Fills recv, offsets and regroup of the plan: rows arrive as
// (source, local expert, token) and are wanted as (local expert, source, token).
void plan_received(const std::vector<int64_t>& counts_Pe, int64_t sources, Plan& plan);

Tensor group_by_expert(const Tensor& rows_RD, const Plan& plan);
Tensor group_by_source(const Tensor& rows_RD, const Plan& plan);

}  // namespace switchyard::moe
