// Intersection of two boxes, walked row by row, each row clipped to the element ranges of both slices.
#include "switchyard/tensor/box.h"

#include <algorithm>

namespace switchyard {
namespace {

Box intersection(const Box& a, const Box& b) {
  Box common{a.offset, a.extent};
  for (size_t d = 0; d < a.offset.size(); ++d) {
    common.offset[d] = std::max(a.offset[d], b.offset[d]);
    const int64_t end = std::min(a.offset[d] + a.extent[d], b.offset[d] + b.extent[d]);
    common.extent[d] = std::max<int64_t>(end - common.offset[d], 0);
  }
  return common;
}

// Row-major position, inside a box, of the element with these global indices.
int64_t position_in(const Box& box, const Shape& index) {
  int64_t position = 0;
  for (size_t d = 0; d < index.size(); ++d) position = position * box.extent[d] + (index[d] - box.offset[d]);
  return position;
}

}  // namespace

Tensor part_of(Tensor whole, const Box& box) {
  for (size_t d = 0; d < box.offset.size(); ++d)
    whole = whole.slice(static_cast<int64_t>(d), box.offset[d], box.offset[d] + box.extent[d]);
  return whole;
}

void for_each_common_run(const Slice& a, const Slice& b, const VisitRun& visit) {
  const Box common = intersection(a.box, b.box);
  if (common.numel() == 0) return;

  // Dimensions outside `run_dim` are stepped through; a run spans run_dim and all inside it, which are whole in both.
  size_t run_dim = common.extent.size();
  int64_t run = 1;
  while (run_dim > 0) {
    --run_dim;
    run *= common.extent[run_dim];
    if (common.extent[run_dim] != a.box.extent[run_dim] || common.extent[run_dim] != b.box.extent[run_dim]) break;
  }

  Shape index = common.offset;
  while (true) {
    const int64_t in_a = position_in(a.box, index), in_b = position_in(b.box, index);
    const int64_t first = std::max({int64_t{0}, a.begin - in_a, b.begin - in_b});
    const int64_t last = std::min({run, a.end - in_a, b.end - in_b});
    if (first < last) visit(in_a + first - a.begin, in_b + first - b.begin, last - first);
    size_t d = run_dim;
    while (d > 0 && ++index[d - 1] == common.offset[d - 1] + common.extent[d - 1]) {
      index[d - 1] = common.offset[d - 1];
      --d;
    }
    if (d == 0) return;
  }
}

}  // namespace switchyard
