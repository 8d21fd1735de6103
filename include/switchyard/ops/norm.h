// Normalisation of the last dimensions. A row is as long as the weight: x (..., D), or trailing dimensions whose sizes
// multiply to D, so that (B, S, H, d) is normalised per head by a weight of d and over all heads by one of H * d.
#pragma once

#include "switchyard/tensor/tensor.h"

namespace switchyard::ops {

Tensor rms_norm(const Tensor& x_TD, const Tensor& w_D, double eps);
Tensor layer_norm(const Tensor& x_TD, const Tensor& w_D, const Tensor& b_D, double eps);

}  // namespace switchyard::ops
