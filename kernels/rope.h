// Rotary position embedding. Of each head the first R dims turn, in pairs j and j + R/2, by the angle of the position:
//   y[j] = x[j] cos - x[j + R/2] sin        y[j + R/2] = x[j + R/2] cos + x[j] sin        the rest is copied
// B sequences, S positions, H heads, D head width.
#pragma once

#include "switchyard/base/dtype.h"
#include "switchyard/base/exec.h"

#include <cstdint>

namespace switchyard::kernels {

struct RopeArgs {
  const void* x;                        // (B, S, H, D)  dtype, strided
  int64_t x_batch, x_position, x_head;  // strides of x in elements; the last is 1
  void* y;                              // (B, S, H, D)  dtype, contiguous
  const void *cos, *sin;                // (S, R/2)      f32, or f64 when dtype is f64; rows of these positions
  int64_t B, S, H, D, R;
  bool is_inverse;  // turns back: the gradient
  DType dtype;
};
void rope(exec::Cpu, const RopeArgs&);
void rope(exec::Cuda, const RopeArgs&);

}  // namespace switchyard::kernels
