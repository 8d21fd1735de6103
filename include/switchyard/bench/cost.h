// What a config costs: the arithmetic of a token.
#pragma once

#include "switchyard/model/config.h"

namespace switchyard::bench {

// Useful additions and multiplications per token, forward and backward: 6 for each element of the matrices that it
// meets, and causal attention, of which only the half that is not masked counts.
double flops_per_token(const model::ModelConfig& config, int64_t sequence_length);

}  // namespace switchyard::bench
