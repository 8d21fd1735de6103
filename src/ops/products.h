// Tensors into the product kernels: what linear layers and the output head share.
#pragma once

#include "kernels/products.h"
#include "switchyard/autograd/graph.h"
#include "switchyard/tensor/tensor.h"

#include <vector>

namespace switchyard::ops {

// A weight read as `groups` matrices whose rows are as long as its last dimension.
struct WeightShape {
  int64_t G, N, K;
  static WeightShape of(const Tensor& w, int64_t groups) {
    return {.G = groups, .N = groups == 0 ? 0 : w.rows() / groups, .K = w.dim(-1)};
  }
};

// rows (R, K) times w into out (R, N), or rows (R, N) into out (R, K) for the input gradient. All contiguous; `offsets`
// as in kernels/products.h. `offsets_there`: the same (i64) where the kernels read them; taken there if it is
// undefined.
void multiply(kernels::RowProduct product, const Tensor& rows, const Tensor& w, const WeightShape& shape,
              const std::vector<int64_t>& offsets, const Tensor& out, const Tensor& offsets_there = {});

// dw (f32, f64 for f64) from dy (R, N) and x (R, K) of one dtype.
void multiply_for_weight(const Tensor& dy, const Tensor& x, const WeightShape& shape,
                         const std::vector<int64_t>& offsets, const Tensor& dw, bool accumulate,
                         const Tensor& offsets_there = {});

}  // namespace switchyard::ops
