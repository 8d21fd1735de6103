// Token embedding.
#pragma once

#include "switchyard/tensor/tensor.h"

namespace switchyard::ops {

// w[ids]: ids i32 of any shape give (shape of ids, D) in the dtype of w: f64, f32 or bf16. The gradient of w is f32
// (f64 for f64), summed in token order. An id outside the table is an Error(input) that names it and its position.
Tensor embedding(const Tensor& ids_T, const Tensor& w_VD);

}  // namespace switchyard::ops
