// Where a run starts from: nothing, another checkpoint's weights, or its own last checkpoint.
#pragma once

#include "switchyard/train/experiment.h"
#include "switchyard/train/session.h"

#include <array>

namespace switchyard::train {

struct Position {
  int64_t step = 0;              // steps done
  int64_t consumed_samples = 0;  // the place in the data
};

// Changes between a checkpoint and the run that goes on from it that a user may allow by name.
inline constexpr std::array<const char*, 8> kAllowedChanges{
    "data", "tokenizer", "sequence_length", "document_mask", "global_batch_size", "micro_batch_size", "seed", "model"};

// Fills the session by checkpoint.resume and checkpoint.init. `allowed`: those of kAllowedChanges that are accepted
// although they change what a run means. Throws Error(usage), naming the key, both values and the flag, for a change
// that is not. Collective.
Position start_from(const ExperimentConfig& config, const std::string& data_fingerprint,
                    const std::vector<std::string>& allowed, Session& session);

}  // namespace switchyard::train
