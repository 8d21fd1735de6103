// Normalisation of rows, with a weight per column.                     T rows, D columns
//   rms:    y[t] = x[t] * rstd[t] * w                                  rstd[t] = 1 / sqrt(mean(x[t]^2) + eps)
//   layer:  y[t] = (x[t] - mean[t]) * rstd[t] * w + b                  rstd[t] = 1 / sqrt(var(x[t]) + eps)
// Statistics are f32 (f64 for f64), and so are dw and db.
#pragma once

#include "switchyard/base/dtype.h"
#include "switchyard/base/exec.h"

#include <cstdint>

namespace switchyard::kernels {

struct NormArgs {
  const void* x;  // (T, D)  dtype
  const void* w;  // (D)     dtype
  const void* b;  // (D)     dtype; layer norm only
  void* y;        // (T, D)  dtype
  void* mean;     // (T)     f32, or f64 when dtype is f64; layer norm only
  void* rstd;     // (T)     as mean
  int64_t T, D;
  double eps;
  DType dtype;
};
void rms_norm(exec::Cpu, const NormArgs&);
void rms_norm(exec::Cuda, const NormArgs&);
void layer_norm(exec::Cpu, const NormArgs&);
void layer_norm(exec::Cuda, const NormArgs&);

struct NormBackwardArgs {
  const void* dy;    // (T, D)  dtype
  const void* x;     // (T, D)  dtype
  const void* w;     // (D)     dtype
  const void* mean;  // (T)     as written by the forward kernel; layer norm only
  const void* rstd;  // (T)
  void* dx;          // (T, D)  dtype; null: not wanted
  void* dw;          // (D)     f32, or f64 when dtype is f64; null: not wanted
  void* db;          // (D)     as dw; layer norm only
  void* scratch;     // norm_backward_scratch_bytes(args)
  int64_t T, D;
  bool accumulate_dw, accumulate_db;  // add to the buffer instead of assigning
  DType dtype;
};
int64_t norm_backward_scratch_bytes(exec::Cpu, const NormBackwardArgs&);
int64_t norm_backward_scratch_bytes(exec::Cuda, const NormBackwardArgs&);
void rms_norm_backward(exec::Cpu, const NormBackwardArgs&);
void rms_norm_backward(exec::Cuda, const NormBackwardArgs&);
void layer_norm_backward(exec::Cpu, const NormBackwardArgs&);
void layer_norm_backward(exec::Cuda, const NormBackwardArgs&);

}  // namespace switchyard::kernels
