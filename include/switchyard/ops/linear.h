// Linear layers, y = x w^T.     T tokens (any leading dimensions), R rows, E experts, N outputs, K inputs
// A weight may have more dimensions than named: its last is K, a leading one E where there are experts, the others make
// up N, as do those of a bias. f64, f32 or bf16; sums in f32 (f64). Gradients of weights are f32 (f64 for f64) and go
// straight to the parameter's buffer. Shapes or dtypes that do not fit are an Error(internal).
#pragma once

#include "switchyard/tensor/tensor.h"

#include <cstdint>
#include <vector>

namespace switchyard::ops {

// y[t, n] = sum_k x[t, k] w[n, k] + b[n], all of one dtype
Tensor linear(const Tensor& x_TK, const Tensor& w_NK, const Tensor& b_N = {});

// y[t, n] = x[t, n] + b[n]: the bias of a linear layer whose product is a sum of several.
Tensor add_bias(const Tensor& x_TN, const Tensor& b_N);

// The same sums from operands of any dtypes, kept in f32 (f64 if either is f64): routers, heads.
Tensor linear_f32(const Tensor& x_TK, const Tensor& w_NK);

// y[r, n] = sum_k rows[r, k] w[e, n, k] for offsets[e] <= r < offsets[e + 1]; offsets: E + 1, from 0 to R.
// `offsets_there`: the same (i64) where the rows are; without it every product takes them there.
Tensor grouped_linear(const Tensor& rows_RK, const Tensor& w_ENK, const std::vector<int64_t>& offsets,
                      const Tensor& offsets_there = {});

}  // namespace switchyard::ops
