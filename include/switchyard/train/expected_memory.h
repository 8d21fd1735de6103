// The memory that a step will need, from config and layout.
#pragma once

#include "switchyard/device/allocator.h"
#include "switchyard/model/decoder.h"
#include "switchyard/train/config.h"

namespace switchyard::train {

struct ExpectedMemory {  // bytes on this rank
  int64_t weights = 0, packed = 0, gradients = 0, optimizer = 0, activations = 0;
  int64_t total() const { return weights + packed + gradients + optimizer + activations; }
  BytesByPurpose by_purpose() const;
};
// packed: the copies that pay with these row counts. activations: what forward keeps for backward, what backward
// computes again of one layer, and what is under way where most is kept: gradients inside the experts, or the rows of
// an exchange. Experts are taken to be evenly loaded. The model is that of the config, on the mesh, with values or
// without. Collective.
ExpectedMemory expected_memory(const ExperimentConfig& config, model::Decoder& model, const parallel::Mesh& mesh);

}  // namespace switchyard::train
