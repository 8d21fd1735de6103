// Sampling text from a model, one token at a time with a KV cache.
//   B sequences, P prompt tokens, V vocabulary
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

// The next token of each sequence: ids (B) from logits (B, V) of new token n, from 0 on; empty: generation ends.
using Choose = std::function<std::vector<int32_t>(int64_t n, const Tensor& logits_BV)>;

// Continues prompt (B, P), P at least 1, by at most max_tokens tokens, which together must fit model.max_position.
// Calls `choose` for each. Collective.
void decode(model::Decoder& model, const Tensor& prompt_BP, int64_t max_tokens, const Choose& choose);

// Continues `prompt` (token ids, at least one) until the token `end`, if there is one, or max_tokens; calls `emit` with
// each new id. Same seed, same text.
void generate(model::Decoder& model, std::optional<int32_t> end, const std::vector<int32_t>& prompt,
              const SamplingOptions& options, const std::function<void(int32_t)>& emit);

}  // namespace switchyard::train
