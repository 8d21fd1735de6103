// Part of a vocabulary: how ops are told that a table [V, D] holds only some of its rows, without knowing about ranks.
#pragma once

#include "switchyard/tensor/tensor.h"

#include <functional>

namespace switchyard::ops {

struct VocabularyPart {
  int64_t first = 0;      // the table holds rows [first, first + V)
  int64_t total = 0;      // rows of all parts
  int64_t num_parts = 1;  // 1: the table is whole, and the other members mean nothing
  // Statistics of each part, (num_parts, R, 3) f64 in the order of the parts, from those of this one: for each of R
  // rows the largest logit (-inf without any), sum of exp(logit - largest), logit of the target or 0 where another has
  // it.
  std::function<Tensor(const Tensor& statistics_R3)> gather = {};

  bool is_split() const { return num_parts > 1; }
  int64_t vocabulary(const Tensor& table_VD) const { return is_split() ? total : table_VD.dim(0); }
};

}  // namespace switchyard::ops
