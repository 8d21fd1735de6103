// Rotary position embedding: dims j and j + R/2 of the first R dims of each head form a pair that turns by position *
// radians[j]; the other dims pass through. Su et al. 2021, RoFormer; the pairs are the halves of GPT-NeoX and Hugging
// Face, not neighbours.
#pragma once

#include "switchyard/tensor/tensor.h"

#include <vector>

namespace switchyard::ops {

// Made once per model and shared by its layers. Angles are computed in f64. Pairs are also multiplied by `factor`.
struct RopeTable {
  RopeTable() = default;
  RopeTable(const std::vector<double>& radians_J, double factor, int64_t head_dim, int64_t max_position, DType dtype);

  Tensor cos_PJ, sin_PJ;  // (max_position, J)  f32, or f64 for dtype f64
  int64_t head_dim = 0;
  int64_t rotary_dim = 0;  // R = 2 J
};

// x: (B, S, H, head_dim) in f64 (of a table for f64), f32 or bf16, any strides. Position s of a sequence is
// first_position + s. Error(internal): a position that the table does not hold, another head_dim, f64 with a table of
// f32.
Tensor rope(const Tensor& x_BSHd, const RopeTable& table, int64_t first_position = 0);

}  // namespace switchyard::ops
