// Sums (or maxima) of what ranks sent, always in rank order. bf16 is added in f32 and rounded once.
#pragma once

#include "switchyard/comm/group.h"

namespace switchyard::comm {

// out[i] = sources[0][i] + sources[1][i] + ...; out may be one of the sources.
void reduce_in_order(std::span<const void* const> sources, void* out, int64_t count, DType dtype, Reduce how);

}  // namespace switchyard::comm
