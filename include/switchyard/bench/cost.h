// What a config costs: the arithmetic of a token from the config alone, memory also from the layout.
#pragma once

#include "switchyard/model/decoder.h"
#include "switchyard/train/config.h"

namespace switchyard::bench {

// Useful additions and multiplications per token, forward and backward: 6 for each element of the matrices that it
// meets, and causal attention, of which only the half that is not masked counts.
double flops_per_token(const model::ModelConfig& config, int64_t sequence_length);

// Bytes on this rank.
struct ExpectedMemory {
  int64_t weights = 0, packed = 0, gradients = 0, optimizer = 0, activations = 0;
  int64_t total() const { return weights + packed + gradients + optimizer + activations; }
};
// packed: the copies that pay with these row counts. activations: what forward keeps for backward, and the gradients
// that are under way where most is kept. Experts are taken to be evenly loaded. The model is that of the config, on the
// mesh, with values or without. Collective.
ExpectedMemory expected_memory(const train::ExperimentConfig& config, model::Decoder& model,
                               const parallel::Mesh& mesh);

}  // namespace switchyard::bench
