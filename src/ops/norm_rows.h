// What the two norms share: how many rows of the weight's length an input has.
#pragma once

#include "switchyard/tensor/kernel_args.h"

namespace switchyard::ops {

// Rows of w.numel() elements that trailing dimensions of x make up.
inline int64_t norm_rows(std::string_view op, const Tensor& x, const Tensor& w) {
  int64_t columns = 1;
  for (int64_t d = x.rank(); d > 0 && columns < w.numel(); --d) columns *= x.dim(d - 1);
  check(columns == w.numel() && columns > 0, "{}: no trailing dimensions of {} make rows of {}", op,
        shape_text(x.shape()), w.numel());
  check(x.dtype() == w.dtype(), "{}: input {}, weight {}", op, name_of(x.dtype()), name_of(w.dtype()));
  return x.numel() / columns;
}

}  // namespace switchyard::ops
