// Token embedding.
#pragma once

#include "switchyard/ops/vocabulary.h"

namespace switchyard::ops {

// w[ids]: ids i32 of any shape give (shape of ids, D) in the dtype of w: f64, f32 or bf16. The gradient of w is f32
// (f64 for f64), summed in token order. An id outside the table is an Error(input) that names it and its position.
// Where w is a part of the table, ids of other parts give zeros: the sum over all parts is the row.
Tensor embedding(const Tensor& ids_T, const Tensor& w_VD, const VocabularyPart& part = {});

}  // namespace switchyard::ops
