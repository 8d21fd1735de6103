// A bias per column, and its gradient: the sum of a gradient over rows, in a fixed order.     R rows, N columns
#pragma once

#include "switchyard/base/dtype.h"
#include "switchyard/base/exec.h"

#include <cstdint>

namespace switchyard::kernels {

struct AddBiasArgs {
  void* y;        // (R, N)  dtype; y[r] += b
  const void* b;  // (N)     dtype
  int64_t R, N;
  DType dtype;
};
void add_bias(exec::Cpu, const AddBiasArgs&);
void add_bias(exec::Cuda, const AddBiasArgs&);

struct BiasGradientArgs {
  const void* dy;  // (R, N)  dtype
  void* db;        // (N)     f32, or f64 when dtype is f64
  void* scratch;   // bias_gradient_scratch_bytes(args)
  int64_t R, N;
  bool accumulate;  // add to db instead of assigning
  DType dtype;
};
int64_t bias_gradient_scratch_bytes(exec::Cpu, const BiasGradientArgs&);
int64_t bias_gradient_scratch_bytes(exec::Cuda, const BiasGradientArgs&);
void bias_gradient(exec::Cpu, const BiasGradientArgs&);
void bias_gradient(exec::Cuda, const BiasGradientArgs&);

}  // namespace switchyard::kernels
