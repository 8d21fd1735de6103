// Differentiable views of tensors of any dtype. A shape that does not fit is an Error(internal).
#pragma once

#include "switchyard/tensor/tensor.h"

namespace switchyard::ops {

Tensor reshape(const Tensor& x, const Shape& shape);  // one dim may be -1; copies only if x is not contiguous

}  // namespace switchyard::ops
