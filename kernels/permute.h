// Moving rows between token order and expert order, and summing them back. T tokens, K choices per token, R rows, D
// width. A position is the row of one choice, in [0, R), or -1 for a choice that has none; every row has exactly one
// choice. Results do not depend on the number of threads.
#pragma once

#include "switchyard/base/dtype.h"
#include "switchyard/base/exec.h"

#include <cstdint>

namespace switchyard::kernels {

// Stable counting sort: rows grouped by bin, token order inside. Bin b holds the experts first + [b size, (b + 1)
// size); choices of no bin have no row, and of consecutive choices in one bin the first has it: for all.
struct ExpertOrderArgs {
  const int32_t* ids;  // (T, K), different in a row
  int32_t* positions;  // (T, K)
  int64_t* offsets;    // (bins + 1) rows of bin b: [offsets[b], offsets[b + 1])
  int64_t* scratch;    // expert_order_scratch_bytes
  int64_t T, K, first, size, bins;
};
int64_t expert_order_scratch_bytes(exec::Cpu, const ExpertOrderArgs&);
int64_t expert_order_scratch_bytes(exec::Cuda, const ExpertOrderArgs&);
void expert_order(exec::Cpu, const ExpertOrderArgs&);
void expert_order(exec::Cuda, const ExpertOrderArgs&);

// y[positions[t, i]] = x[t]
struct GatherRowsArgs {
  const void* x;             // (T) rows
  const int32_t* positions;  // (T, K)
  void* y;                   // (R) rows
  int64_t T, K, row_bytes;
};
void gather_rows(exec::Cpu, const GatherRowsArgs&);
void gather_rows(exec::Cuda, const GatherRowsArgs&);

// y[t] = sum_i h[positions[t, i]], in the order of i; 0 without a row
struct CombineRowsArgs {
  const void* h;             // (R, D) dtype
  const int32_t* positions;  // (T, K)
  void* y;                   // (T, D) dtype
  int64_t T, K, D;
  DType dtype;
};
void combine_rows(exec::Cpu, const CombineRowsArgs&);
void combine_rows(exec::Cuda, const CombineRowsArgs&);

}  // namespace switchyard::kernels
