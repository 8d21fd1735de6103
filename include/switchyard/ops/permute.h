// Rows between token order and expert order. T tokens, K choices per token, R rows, D width. positions_TK (i32) holds
// the row of each choice, -1 for a choice without one; every row belongs to exactly one choice. Rows are f64, f32 or
// bf16. Shapes or dtypes that do not fit are an Error(internal).
#pragma once

#include "switchyard/tensor/tensor.h"

namespace switchyard::ops {

struct ExpertOrder {
  Tensor positions_TK;
  Tensor offsets;  // (bins + 1) i64, where the ids are: rows of bin b are [offsets[b], offsets[b + 1])
};

// ids: i32, ascending in each row. Rows grouped by bin, token order inside. Bin b holds the `size` experts from
// first + b size on; choices of no bin have no row, and choices of a token in one bin share the row of the first.
ExpertOrder expert_order(const Tensor& ids_TK, int64_t first, int64_t num_bins, int64_t size = 1);

// Row positions[t, i] is x[t]. Backward is combine_rows.
Tensor gather_rows(const Tensor& x_TD, const Tensor& positions_TK, int64_t num_rows);

// y[t] = sum of the rows of token t, in the order of its choices, whatever the dtype summed in f32 (f64). Backward is
// gather_rows.
Tensor combine_rows(const Tensor& h_RD, const Tensor& positions_TK);

}  // namespace switchyard::ops
