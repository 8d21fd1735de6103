// Boxes and element ranges: which part of a global tensor a rank holds or owns.
#pragma once

#include "switchyard/tensor/tensor.h"

#include <functional>

namespace switchyard {

// A rectangular part of a global tensor: elements offset[d] <= i_d < offset[d] + extent[d].
struct Box {
  Shape offset, extent;
  int64_t numel() const { return numel_of(extent); }
  static Box whole(const Shape& shape) { return {Shape(shape.size(), 0), shape}; }
  bool operator==(const Box&) const = default;
};

// The part of a tensor that a box of it is, as a raw view of the same rank.
Tensor part_of(Tensor whole, const Box& box);

// A row-major element range [begin, end) inside a box: how optimizer shards cut a parameter.
struct Slice {
  Box box;
  int64_t begin = 0, end = 0;
  int64_t numel() const { return end - begin; }
};

// What two slices of one tensor have in common, as runs that are adjacent in both: visit(position in a, position in b,
// number of elements); positions count from the slices' first elements. Dimensions that are whole in both boxes are
// merged, so slices that differ in the first dimension alone have one run.
using VisitRun = std::function<void(int64_t in_a, int64_t in_b, int64_t count)>;
void for_each_common_run(const Slice& a, const Slice& b, const VisitRun& visit);

}  // namespace switchyard
