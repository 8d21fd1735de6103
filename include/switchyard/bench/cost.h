// What a config costs, from the config alone: the matrices a token meets, their arithmetic, and memory.
#pragma once

#include "switchyard/train/config.h"

namespace switchyard::bench {

// A weight matrix, or `experts` of them, in each of `layers` layers. `visits`: how many of them a token meets in a
// layer.
struct Matrix {
  std::string name;
  int64_t layers, experts, outputs, inputs, visits;
  bool are_experts = false;  // split over expert ranks
  int64_t elements() const { return layers * experts * outputs * inputs; }
};
// Every matrix that multiplies tokens, the head included; the embedding is a look-up, gates of one row are left out.
std::vector<Matrix> matrices_of(const model::ModelConfig& config);

// Useful additions and multiplications per token, forward and backward: 6 for each element of the matrices that it
// meets, and causal attention, of which only the half that is not masked counts.
double flops_per_token(const model::ModelConfig& config, int64_t sequence_length);

// Bytes on one rank of `ranks`.
struct ExpectedMemory {
  int64_t weights = 0, packed = 0, gradients = 0, optimizer = 0, activations = 0;
  int64_t total() const { return weights + packed + gradients + optimizer + activations; }
};
// packed: the copies that pay with these row counts. activations: what forward keeps for backward, and the gradients
// that are under way where most is kept. Experts are taken to be evenly loaded.
ExpectedMemory expected_memory(const train::ExperimentConfig& config, int64_t ranks);

}  // namespace switchyard::bench
