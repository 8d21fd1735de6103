// Small models that together have every feature of the decoder.
#pragma once

#include "switchyard/model/config.h"

namespace switchyard::test {

constexpr int64_t kVocabulary = 11;

// A dense layer, then two MoE layers with a gated shared expert; full qk norm, all biases, tied embeddings, sinks, a
// window, a soft cap, rotation of half a head, groups of experts.
inline model::ModelConfig busy_model() {
  model::ModelConfig c;
  c.vocab_size = kVocabulary;
  c.hidden_size = 6;
  c.num_layers = 3;
  c.max_position = 16;
  c.tie_embeddings = true;
  c.attention = {.num_heads = 4,
                 .num_kv_heads = 2,
                 .head_dim = 4,
                 .qk_norm = model::QkNorm::full,
                 .bias = model::AttentionBias::all,
                 .window = 4,
                 .sinks = true,
                 .soft_cap = 2.0,
                 .rope = {.theta = 100.0, .fraction = 0.5}};
  c.mlp.intermediate_size = 5;
  c.moe.layers = moe::LayerPattern{.first = 1};
  c.moe.num_experts = 4;
  c.moe.top_k = 2;
  c.moe.intermediate_size = 3;
  c.moe.shared = {.num_experts = 2, .intermediate_size = 2, .gate = moe::SharedGate::sigmoid};
  c.moe.router.scale = 1.5;
  c.moe.router.groups = {.count = 2, .keep = 1, .score = moe::GroupScore::top2_sum};
  return c;
}

// MoE and dense layers in turn; qk norm per head, layer norm, a head of its own, sigmoid scores that are not
// renormalised, activations without a gate, balance losses.
inline model::ModelConfig plain_model() {
  model::ModelConfig c = busy_model();
  c.tie_embeddings = false;
  c.norm.kind = nn::NormKind::layer;
  c.attention = {.num_heads = 2, .num_kv_heads = 1, .head_dim = 4, .qk_norm = model::QkNorm::head};
  c.mlp.activation = ops::Activation::gelu;
  c.moe.layers = moe::LayerPattern{.every = 2};
  c.moe.activation = ops::Activation::relu2;
  c.moe.shared = {.num_experts = 1, .intermediate_size = 3};
  c.moe.router.score = moe::RouterScore::sigmoid;
  c.moe.router.normalize = false;
  c.moe.router.groups = {};
  c.moe.balance = {{.scope = moe::BalanceScope::micro_batch, .coefficient = 0.5},
                   {.scope = moe::BalanceScope::sequence, .coefficient = 0.25},
                   {.kind = moe::BalanceKind::z_loss, .coefficient = 0.125},
                   {.kind = moe::BalanceKind::sequence, .coefficient = 0.375},
                   {.kind = moe::BalanceKind::hf_pooled, .coefficient = 0.625}};
  return c;
}

inline model::ModelConfig dense_model() {
  model::ModelConfig c = busy_model();
  c.attention.bias = model::AttentionBias::qkv;
  c.mlp = {.intermediate_size = 5, .activation = ops::Activation::geglu, .bias = true};
  c.moe.layers = std::nullopt;
  return c;
}

struct NamedModel {
  const char* name;
  model::ModelConfig config;
};
inline std::vector<NamedModel> tiny_models() {
  return {{"busy", busy_model()}, {"plain", plain_model()}, {"dense", dense_model()}};
}

}  // namespace switchyard::test
