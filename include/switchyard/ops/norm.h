// Normalisation of the last dimensions. A row is as long as the weight: x (..., D), or trailing dimensions whose sizes
// multiply to D, so that (B, S, H, d) is normalised per head by a weight of d and over all heads by one of H * d.
// x, w and b have one dtype, f64, f32 or bf16; statistics are f32 (f64), gradients of w and b too. Other shapes or
// dtypes are an Error(internal).
#pragma once

#include "switchyard/tensor/tensor.h"

namespace switchyard::ops {

// y = x / sqrt(mean(x^2) + eps) * w      Zhang and Sennrich 2019, Root Mean Square Layer Normalization
Tensor rms_norm(const Tensor& x_TD, const Tensor& w_D, double eps);
// y = (x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps) * w + b      Ba et al. 2016, Layer Normalization
Tensor layer_norm(const Tensor& x_TD, const Tensor& w_D, const Tensor& b_D, double eps);

// The two halves of rms_norm for rows that are split over ranks: x (T, D) is this rank's part of rows of `width`.
Tensor row_squares(const Tensor& x_TD,
                   double factor);  // (T, 1) f32 (f64): factor times the sum of squares of this part
Tensor normalize_rows(const Tensor& x_TD, const Tensor& squares_T1, const Tensor& w_D, int64_t width,
                      double eps);  // squares: of all parts

}  // namespace switchyard::ops
