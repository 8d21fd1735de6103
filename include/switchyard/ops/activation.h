// Activations of feed-forward layers; the gated ones are those of Shazeer 2020, GLU Variants Improve Transformer.
//   swiglu  gate * sigmoid(gate) * up       gelu   x * P(N(0, 1) < x)  (Hendrycks and Gimpel 2016; the exact error
//   geglu   gelu(gate) * up                        function, not the tanh approximation)
//   relu    max(x, 0)                       relu2  max(x, 0)^2  (So et al. 2021, Primer)
#pragma once

#include "kernels/activation.h"
#include "switchyard/tensor/tensor.h"

#include <string_view>

namespace switchyard::ops {

using kernels::Activation;
using kernels::is_gated;
// How many matrices of a feed-forward part lie before its activation.
constexpr int64_t input_matrices(Activation a) { return is_gated(a) ? 2 : 1; }

inline std::string_view name_of(Activation kind) { return names_of(kind).at(static_cast<size_t>(kind)); }

// Gated: h is (T, 2F) = gate | up and gives (T, F); else (T, F) gives (T, F); f64, f32 or bf16. With a weight per row
// (f32; f64 for f64) rows are multiplied by it, and it is differentiated too. Error(internal): an odd width of a gated
// kind, a row weight of another length or dtype.
Tensor activate(const Tensor& h_TX, Activation kind, const Tensor& row_weight_T = {});

}  // namespace switchyard::ops
