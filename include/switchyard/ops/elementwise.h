// Ops that act element by element or row by row, in f64, f32 or bf16. Shapes and dtypes that do not fit, and integers,
// are an Error(internal).
#pragma once

#include "switchyard/tensor/tensor.h"

#include <vector>

namespace switchyard::ops {

Tensor add(const Tensor& a, const Tensor& b);  // same shape and dtype
Tensor clamp(const Tensor& x, double limit);   // to [-limit, limit]; the gradient passes where |x| <= limit

// x[t] * sigmoid(gate[t]); gate (T, 1) or (T) has the dtype of x, or f32.
Tensor sigmoid_gate(const Tensor& x_TD, const Tensor& gate_T1);

// sum_i weights[i] * scalars[i]: losses of one element each, in f32 or f64. Undefined scalars are left out.
Tensor weighted_sum(const Tensors& scalars, const std::vector<double>& weights);

}  // namespace switchyard::ops
