// Decoupled weight decay Adam (Loshchilov & Hutter 2019, Algorithm 2) on a flat range, in the order of
// torch.optim.AdamW:
//   g = grad_scale * grad;   w *= 1 - lr * weight_decay;   m += (1 - beta1) (g - m);   v = beta2 v + (1 - beta2) g^2
//   w -= lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
#pragma once

#include "switchyard/base/dtype.h"
#include "switchyard/base/exec.h"

#include <cstdint>

namespace switchyard::kernels {

struct AdamWArgs {
  void* master;      // (n) f32, or f64
  bf16* weights;     // (n) the master rounded, or null when the master is the weight
  const void* grad;  // (n) like master
  void* exp_avg;     // (n) m, like master
  void* exp_avg_sq;  // (n) v, like master
  int64_t n;
  DType dtype;  // of the master: f32 or f64
  double lr, beta1, beta2, eps, weight_decay, grad_scale;
  int64_t t;  // step, from 1
};
void adamw(exec::Cpu, const AdamWArgs&);
void adamw(exec::Cuda, const AdamWArgs&);

// Sum of squares of a flat f32 or f64 range, in f64. Partial sums of fixed chunks are added in order: the result does
// not depend on the number of threads. `scratch` holds sum_of_squares_scratch_count(n) doubles.
struct SumOfSquaresArgs {
  const void* x;  // (n) dtype
  int64_t n;
  DType dtype;
  double* scratch;
};
int64_t sum_of_squares_scratch_count(exec::Cpu, int64_t n);
int64_t sum_of_squares_scratch_count(exec::Cuda, int64_t n);
double sum_of_squares(exec::Cpu, const SumOfSquaresArgs&);
double sum_of_squares(exec::Cuda, const SumOfSquaresArgs&);

}  // namespace switchyard::kernels
