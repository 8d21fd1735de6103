// A config made small without changing what it exercises.
#pragma once

#include "switchyard/train/config.h"

namespace switchyard::verify {

// At most two dense and two MoE layers, width 64 at most, heads of 16, sequences of 32 tokens, a vocabulary of 128.
// Kept: every rule, experts, top-k, groups, heads, micro-batch and global batch. A size that is reduced is a multiple
// of the same divisors of `ranks` as before, so the same layouts fit. `keeps_vocabulary`: for tokens of a file.
train::ExperimentConfig tiny(train::ExperimentConfig config, int64_t ranks, bool keeps_vocabulary);

}  // namespace switchyard::verify
