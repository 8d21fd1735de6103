// What two slices of one tensor have in common, as runs that are adjacent in both.
#pragma once

#include "switchyard/tensor/box.h"

#include <functional>

namespace switchyard::checkpoint {

// visit(position in a, position in b, number of elements); positions count from the slices' first elements. Dimensions
// that are whole in both boxes are merged, so slices that differ in the first dimension alone have one run.
using VisitRun = std::function<void(int64_t in_a, int64_t in_b, int64_t count)>;
void for_each_common_run(const Slice& a, const Slice& b, const VisitRun& visit);

}  // namespace switchyard::checkpoint
