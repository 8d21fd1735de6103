// What the ops on (batch, position, head, width) share.
#pragma once

#include "switchyard/tensor/tensor.h"

namespace switchyard::ops {

// Itself if the elements of a head are adjacent, as in slices of a fused projection; else a contiguous copy.
inline Tensor with_adjacent_elements(const Tensor& t) {
  return t.dim(-1) <= 1 || t.strides().back() == 1 ? t : t.contiguous();
}

}  // namespace switchyard::ops
