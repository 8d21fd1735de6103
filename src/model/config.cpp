// Rules between the keys of `model`.
#include "switchyard/model/config.h"

#include "switchyard/model/family.h"

namespace switchyard::model {

void RopeScalingConfig::validate() const {
  config::expect(kind != RopeScalingKind::llama3 || high_freq_factor > low_freq_factor, "high_freq_factor",
                 "{} does not exceed low_freq_factor={}", high_freq_factor, low_freq_factor);
  config::expect(beta_fast >= beta_slow, "beta_fast", "{} is below beta_slow={}", beta_fast, beta_slow);
}

void RopeConfig::validate() const {
  config::expect(scaling.kind != RopeScalingKind::yarn || theta > 1, "theta",
                 "{}; yarn needs frequencies that fall from pair to pair, a theta above 1", theta);
}

void AttentionConfig::validate() const {
  config::expect(num_heads % num_kv_heads == 0, "num_heads", "{} is not a multiple of num_kv_heads={}", num_heads,
                 num_kv_heads);
  config::expect(head_dim % 2 == 0, "head_dim", "{} is odd; rope turns dims in pairs", head_dim);
  const int64_t rotary_dim = rope.rotary_dim(head_dim);
  config::expect(rotary_dim > 0 && rotary_dim % 2 == 0, "rope.fraction",
                 "{} of head_dim={} are {} dims; rope turns dims in pairs", rope.fraction, head_dim, rotary_dim);
}

void ModelConfig::validate() const {
  // Every expert has names and places before anything of it is read: a config from elsewhere must not exhaust memory.
  constexpr int64_t kMostExperts = 1'000'000;
  config::expect(!moe.layers || num_layers * moe.num_experts <= kMostExperts, "num_layers",
                 "{} x moe.num_experts={} are more than {} experts", num_layers, moe.num_experts, kMostExperts);
  const auto layers = moe.layers.value_or(moe::LayerPattern{.first = num_layers});
  config::expect(layers.first <= num_layers, "moe.layers.first",
                 "{} exceeds num_layers={}; for a dense model write "
                 "layers: none",
                 layers.first, num_layers);
  for (const int64_t layer : layers.except)
    config::expect(layer < num_layers, "moe.layers.except", "there is no layer {}; num_layers={}", layer, num_layers);
  bool has_moe = false;
  for (int64_t i = 0; i < num_layers; ++i) has_moe |= is_moe(i);
  config::expect(has_moe || !moe.layers, "moe.layers",
                 "none of the {} layers is one of experts; for a dense model write layers: none", num_layers);
  if (family == Family::generic) return;
  if (const auto outside = first_outside(*this, family))
    throw config::Invalid(outside->key,
                          fmt::format("{}, but {} in family {}, the other keys being as they are; family: "
                                      "generic takes any combination",
                                      outside->value, outside->accepted, config::name(family)));
}

}  // namespace switchyard::model
