// Copying between strided views and dtypes, and filling.
#pragma once

#include "switchyard/base/dtype.h"
#include "switchyard/base/exec.h"

#include <cstdint>
#include <vector>

namespace switchyard::kernels {

// y[i] = x[i] for every index i of `shape`; any strides, any pair of dtypes (integers convert to and from floating
// ones).
struct CopyArgs {
  const void* x;  // first element
  void* y;
  const std::vector<int64_t>& shape;
  const std::vector<int64_t>& x_strides;  // in elements
  const std::vector<int64_t>& y_strides;
  DType x_dtype, y_dtype;
};
void copy(exec::Cpu, const CopyArgs&);
void copy(exec::Cuda, const CopyArgs&);

void fill(exec::Cpu, void* y, int64_t count, DType dtype, double value);  // contiguous
void fill(exec::Cuda, void* y, int64_t count, DType dtype, double value);

}  // namespace switchyard::kernels
