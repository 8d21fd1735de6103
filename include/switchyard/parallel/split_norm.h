// RMS norm over all heads at once where tensor ranks hold some of them.
//   T tokens, D columns of this rank, width columns in all
#pragma once

#include "switchyard/comm/group.h"
#include "switchyard/tensor/tensor.h"

namespace switchyard::parallel {

// x (..., D), w (D). `copies`: ranks that hold the same columns; each counts 1 / copies of them.
Tensor split_rms_norm(const Tensor& x_TD, const Tensor& w_D, int64_t width, double eps, int64_t copies,
                      const comm::Group& tensor);

}  // namespace switchyard::parallel
