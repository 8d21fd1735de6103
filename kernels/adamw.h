// Decoupled weight decay Adam (Loshchilov & Hutter 2019, Algorithm 2), in the order of torch.optim.AdamW:
//   g = grad_scale * grad;   w *= 1 - lr * weight_decay;   m += (1 - beta1) (g - m);   v = beta2 v + (1 - beta2) g^2
//   w -= lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
// and the sum of squares of all gradients, both for a list of flat ranges at once. Lists and results lie where the
// kernel runs, so that neither asks the host for anything.
#pragma once

#include "kernels/ranges.h"
#include "switchyard/base/dtype.h"
#include "switchyard/base/exec.h"

namespace switchyard::kernels {

struct AdamWRange {
  void* master;      // (n) f32, or f64
  bf16* weights;     // (n) the master rounded, or null when the master is the weight
  const void* grad;  // (n) like master
  void* exp_avg;     // (n) m, like master
  void* exp_avg_sq;  // (n) v, like master
  int64_t n;
  double weight_decay;
  int64_t first_chunk = 0;  // number_chunks
};

struct AdamWArgs {
  const AdamWRange* ranges;  // (num_ranges)
  int64_t num_ranges, num_chunks;
  const double* grad_scale;  // (1); if it is not finite, nothing changes
  DType dtype;               // of the masters: f32 or f64
  double lr, beta1, beta2, eps;
  int64_t t;  // step, from 1
};
void adamw(exec::Cpu, const AdamWArgs&);
void adamw(exec::Cuda, const AdamWArgs&);

struct SquaresRange {
  const void* x;  // (n) dtype
  int64_t n;
  int64_t first_chunk = 0;  // number_chunks
};

// In f64: chunks are added in order, so the result does not depend on the number of threads.
struct SumOfSquaresArgs {
  const SquaresRange* ranges;  // (num_ranges)
  int64_t num_ranges, num_chunks;
  double* chunks;  // (num_chunks) scratch
  double* sum;     // (1)
  DType dtype;     // f32 or f64
};
void sum_of_squares(exec::Cpu, const SumOfSquaresArgs&);
void sum_of_squares(exec::Cuda, const SumOfSquaresArgs&);

}  // namespace switchyard::kernels
