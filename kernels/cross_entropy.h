// Softmax cross entropy of rows of logits, with its gradient.     R rows, V classes
//   losses[r]  = log(sum_v exp(logits[r, v])) - logits[r, target[r]]
//   dlogits[r] = scale * (softmax(logits[r]) - onehot(target[r]))      both 0 where the target is negative
#pragma once

#include "switchyard/base/dtype.h"
#include "switchyard/base/exec.h"

#include <cstdint>

namespace switchyard::kernels {

struct CrossEntropyArgs {
  void* logits;            // (R, V)  f32, or f64 when dtype is f64; overwritten when dlogits is wanted
  const int32_t* targets;  // (R)     target < V; negative: none
  void* losses;            // (R)     as logits
  void* dlogits;           // (R, V)  dtype; may be `logits` where that is the same type; null: not wanted
  int64_t R, V;
  double scale;
  DType dtype;
};
void cross_entropy(exec::Cpu, const CrossEntropyArgs&);
void cross_entropy(exec::Cuda, const CrossEntropyArgs&);

// The same where the classes are split into parts: first what a part knows about each row, then, with the statistics of
// all parts, losses and this part's gradient. V may be 0.
struct SplitCrossEntropyArgs {
  void* logits;            // (R, V)  f32, or f64 when dtype is f64: classes [first, first + V)
  const int32_t* targets;  // (R)     -1, or a class of any part
  double* statistics;      // (R, 3)  largest logit, sum_v exp(logit - largest), logit of the target or 0
  void* losses;            // (R)     as logits
  void* dlogits;           // (R, V)  dtype; may be `logits` where that is the same type; null: not wanted
  int64_t R, V, first;
  double scale;
  DType dtype;
};
void cross_entropy_statistics(exec::Cpu, const SplitCrossEntropyArgs&);  // writes statistics
void cross_entropy_statistics(exec::Cuda, const SplitCrossEntropyArgs&);
void cross_entropy_from_statistics(exec::Cpu, const SplitCrossEntropyArgs&);  // reads them; writes losses and dlogits
void cross_entropy_from_statistics(exec::Cuda, const SplitCrossEntropyArgs&);

// Between the two: statistics of all parts from those of each, added in the order of the parts.
struct CombineStatisticsArgs {
  const double* parts;  // (P, R, 3)
  double* statistics;   // (R, 3)
  int64_t P, R;
};
void combine_statistics(exec::Cpu, const CombineStatisticsArgs&);
void combine_statistics(exec::Cuda, const CombineStatisticsArgs&);

}  // namespace switchyard::kernels
