// Activations of feed-forward layers. `gelu` and `geglu` use the exact error function, not the tanh approximation.
#pragma once

#include "kernels/activation.h"
#include "switchyard/tensor/tensor.h"

#include <string_view>

namespace switchyard::ops {

using kernels::Activation;
using kernels::is_gated;

std::string_view name_of(Activation kind);

// Gated: h is (T, 2F) = gate | up and gives act(gate) * up (T, F); else (T, F) gives act(h). With a weight per row
// (f32; f64 for f64) rows are multiplied by it, and it is differentiated too.
Tensor activate(const Tensor& h_TX, Activation kind, const Tensor& row_weight_T = {});

}  // namespace switchyard::ops
