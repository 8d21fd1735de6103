// Frequencies of the rotary embedding, scaled for contexts longer than those of the first training.
//   J = R / 2 pairs of dims, R the leading fraction of a head that rotates
#pragma once

#include "switchyard/model/attention_config.h"
#include "switchyard/ops/rope.h"

#include <vector>

namespace switchyard::model {

struct RopeFrequencies {
  std::vector<double> radians_J;  // what pair j turns by from one position to the next
  double factor = 1.0;            // of cosines and sines, so that scores are multiplied by its square (yarn)
};

// theta^(-2j/R), then by `scaling.kind`, with factor s, original length N and wavelength w = 2 pi / frequency:
// - linear: frequency / s. Chen et al. 2023, Extending Context Window by Position Interpolation
// - llama3: / s where w > N / low_freq_factor, unchanged where w < N / high_freq_factor, between them a blend by the
//   place of N / w between the two factors. Grattafiori et al. 2024, The Llama 3 Herd of Models
// - yarn: unchanged for pairs that turn more than beta_fast times in N positions, / s for those that turn less than
//   beta_slow times, between them a blend by j; factor 0.1 ln s + 1. Peng et al. 2023, YaRN: Efficient Context Window
//   Extension
// Values are those of Hugging Face transformers.
RopeFrequencies rope_frequencies(const RopeConfig& config, int64_t head_dim);

ops::RopeTable rope_table(const AttentionConfig& attention, int64_t max_position, DType dtype);

}  // namespace switchyard::model
