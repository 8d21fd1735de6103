// Both directions are one permutation of rows, left out where it is the identity.
#include "moe/received_rows.h"

#include "switchyard/ops/permute.h"

namespace switchyard::moe {

void plan_received(const std::vector<int64_t>& counts_Pe, int64_t sources, Plan& plan) {
  const auto experts = static_cast<int64_t>(counts_Pe.size()) / sources;
  const auto count = [&](int64_t p, int64_t e) { return counts_Pe[static_cast<size_t>(p * experts + e)]; };
  plan.recv.assign(static_cast<size_t>(sources), 0);
  plan.offsets.assign(1, 0);
  std::vector<int64_t> start(counts_Pe.size());  // first place of the rows from p for e
  int64_t at = 0;
  for (int64_t e = 0; e < experts; ++e) {
    for (int64_t p = 0; p < sources; ++p) {
      start[static_cast<size_t>(p * experts + e)] = at;
      at += count(p, e);
      plan.recv[static_cast<size_t>(p)] += count(p, e);
    }
    plan.offsets.push_back(at);
  }
  plan.offsets_there = Tensor::of(plan.offsets, {experts + 1}, Purpose::buffers);
  if (experts == 1 || sources == 1) return;  // they arrive in order
  std::vector<int32_t> places;
  places.reserve(static_cast<size_t>(at));
  for (int64_t p = 0; p < sources; ++p)
    for (int64_t e = 0; e < experts; ++e)
      for (int64_t i = 0; i < count(p, e); ++i)
        places.push_back(static_cast<int32_t>(start[static_cast<size_t>(p * experts + e)] + i));
  plan.regroup_R1 = Tensor::of(places, {at, 1}, Purpose::buffers);
}

Tensor group_by_expert(const Tensor& rows_RD, const Plan& plan) {
  return plan.regroup_R1.defined() ? ops::gather_rows(rows_RD, plan.regroup_R1, plan.offsets.back()) : rows_RD;
}

Tensor group_by_source(const Tensor& rows_RD, const Plan& plan) {
  return plan.regroup_R1.defined() ? ops::combine_rows(rows_RD, plan.regroup_R1) : rows_RD;
}

}  // namespace switchyard::moe
