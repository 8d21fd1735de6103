// One line per size.
#include "switchyard/verify/scale.h"

#include "switchyard/config/parse.h"

#include <algorithm>
#include <numeric>

namespace switchyard::verify {
namespace {

// The largest size up to `limit` that has the divisors of `ranks` that `size` has.
int64_t reduced(int64_t size, int64_t limit, int64_t ranks) {
  if (size <= limit) return size;
  for (int64_t smaller = limit; smaller > 0; --smaller)
    if (std::gcd(smaller, ranks) == std::gcd(size, ranks)) return smaller;
  return size;
}

// The largest head of at most 16 dims whose rotating part still turns in pairs.
void reduce_heads(model::AttentionConfig& attention) {
  constexpr int64_t kLargest = 16;
  for (int64_t dims = std::min(attention.head_dim, kLargest); dims > 0; dims -= 2) {
    const auto rotary = static_cast<int64_t>(attention.rope.fraction * static_cast<double>(dims));
    if (rotary == 0 || rotary % 2 != 0) continue;
    attention.head_dim = dims;
    return;
  }
}

void reduce_layers(model::ModelConfig& model) {
  constexpr int64_t kOfEachKind = 2;
  int64_t moe_layers = 0;
  for (int64_t i = 0; i < model.num_layers; ++i) moe_layers += model.is_moe(i);
  const int64_t dense = std::min(model.num_layers - moe_layers, kOfEachKind);
  moe_layers = std::min(moe_layers, kOfEachKind);
  model.num_layers = dense + moe_layers;
  if (model.moe.layers) model.moe.layers = moe::LayerPattern{.first = dense};
}

}  // namespace

train::ExperimentConfig tiny(train::ExperimentConfig config, int64_t ranks, bool keeps_vocabulary) {
  model::ModelConfig& model = config.model;
  const auto reduce = [&](int64_t& size, int64_t limit) { size = reduced(size, limit, ranks); };
  model.family = model::Family::generic;  // a family's rules are in the keys; its order of layers may be another
  reduce_layers(model);
  reduce(model.hidden_size, 64);
  reduce(model.mlp.intermediate_size, 64);
  reduce(model.moe.intermediate_size, 64);
  reduce(model.moe.shared.intermediate_size, 64);
  reduce_heads(model.attention);
  reduce(config.data.sequence_length, 32);
  model.attention.window = std::min(model.attention.window, config.data.sequence_length / 2);
  if (!keeps_vocabulary) reduce(model.vocab_size, 128);
  config::validate(config);
  return config;
}

}  // namespace switchyard::verify
