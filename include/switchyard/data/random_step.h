// Batches of random tokens, for measuring and for comparing layouts.
#pragma once

#include "switchyard/data/loader.h"

namespace switchyard::data {

// As Loader::step: what sample k holds depends on the seed and on k alone. Every token has a target; with document_mask
// documents of a few tokens follow each other. Sample hashes are left out.
std::vector<Batch> random_step(const DataConfig& config, int64_t vocab_size, uint64_t seed, int64_t consumed_samples,
                               int64_t global_batch, int64_t micro_batch, int rank, int ranks);

}  // namespace switchyard::data
