// Sampling text from a model, one token at a time with a KV cache.
#pragma once

#include "switchyard/model/decoder.h"

#include <functional>
#include <optional>

namespace switchyard::train {

struct SamplingOptions {
  int64_t max_tokens = 200;
  double temperature = 1.0;  // 0: always the most likely token
  double top_p = 1.0;  // sample from the smallest set of tokens with at least this probability (Holtzman et al. 2020)
  uint64_t seed = 1;
};

// Index of the token drawn from logits (V) by the uniform number u in [0, 1).
int64_t sample_token(const std::vector<float>& logits_V, const SamplingOptions& options, double u);

// Continues `prompt` (token ids, at least one) until the token `end`, if there is one, or max_tokens; calls `emit` with
// each new id. The prompt and the new tokens together must fit model.max_position. Same seed, same text.
void generate(model::Decoder& model, std::optional<int32_t> end, const std::vector<int32_t>& prompt,
              const SamplingOptions& options, const std::function<void(int32_t)>& emit);

}  // namespace switchyard::train
