// Differentiable views of tensors of any dtype. A shape or range that does not fit is an Error(internal).
#pragma once

#include "switchyard/tensor/tensor.h"

namespace switchyard::ops {

Tensor reshape(const Tensor& x, const Shape& shape);  // one dim may be -1; copies only if x is not contiguous
Tensor slice(const Tensor& x, int64_t dim, int64_t begin, int64_t end);

}  // namespace switchyard::ops
