// Token embedding.
#pragma once

#include "switchyard/tensor/tensor.h"

namespace switchyard::ops {

// w[ids]: ids i32 of any shape give (shape of ids, D). An id outside the table is an error of the input.
Tensor embedding(const Tensor& ids_T, const Tensor& w_VD);

}  // namespace switchyard::ops
