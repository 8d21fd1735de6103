// Boxes and element ranges: which part of a global tensor a rank holds or owns.
#pragma once

#include "switchyard/tensor/tensor.h"

namespace switchyard {

// A rectangular part of a global tensor: elements offset[d] <= i_d < offset[d] + extent[d].
struct Box {
  Shape offset, extent;
  int64_t numel() const { return numel_of(extent); }
  static Box whole(const Shape& shape) { return {Shape(shape.size(), 0), shape}; }
  bool operator==(const Box&) const = default;
};

// A row-major element range [begin, end) inside a box: how optimizer shards cut a parameter.
struct Slice {
  Box box;
  int64_t begin = 0, end = 0;
  int64_t numel() const { return end - begin; }
};

}  // namespace switchyard
