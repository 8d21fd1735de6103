// AdamW (Loshchilov & Hutter, 2019) on a flat range of elements, with t counting steps from 1:
//   g = grad_scale * grad                  w = w * (1 - lr * weight_decay)
//   m = m + (1 - beta1) (g - m)            v = beta2 v + (1 - beta2) g^2
//   w = w - lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
#pragma once

#include "switchyard/base/dtype.h"
#include "switchyard/base/exec.h"

#include <cstdint>

namespace switchyard::kernels {

struct AdamWArgs {
  void* w;           // (count)  dtype: the weights, or the f32 masters of bf16 weights; updated
  void* w_bf16;      // (count)  bf16: w rounded, written; null: not wanted
  const void* grad;  // (count)  dtype
  void* exp_avg;     // (count)  dtype; m, updated
  void* exp_avg_sq;  // (count)  dtype; v, updated
  int64_t count;
  int64_t step;  // t
  double lr, beta1, beta2, eps, weight_decay;
  double grad_scale;
  DType dtype;  // f32 or f64
};
void adamw(exec::Cpu, const AdamWArgs&);

}  // namespace switchyard::kernels
