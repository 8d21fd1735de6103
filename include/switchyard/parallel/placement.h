// From a parameter's placement and the mesh to the box that this rank holds.
#pragma once

#include "switchyard/nn/parameter.h"
#include "switchyard/parallel/mesh.h"

namespace switchyard::parallel {

// Throws Error(usage), naming the parameter and both numbers, if a split dimension is not a multiple of its axis.
Box local_box(const nn::Parameter& parameter, const Mesh& mesh);

// Fills `value`, the slice of a local box, by `parameter.init`. Element i of the global tensor depends on (seed, name,
// i) alone, so every layout starts from the same weights.
void initialize(const nn::Parameter& parameter, const Slice& slice, uint64_t seed, Tensor& value);

}  // namespace switchyard::parallel
