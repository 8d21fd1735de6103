// Small configs of every kind that the seed decides, and a layout of each.
#pragma once

#include "switchyard/tensor/random.h"
#include "switchyard/verify/layouts.h"

#include <initializer_list>

namespace switchyard::test {

// Draws, one after the other.
class Draws {
 public:
  explicit Draws(uint64_t seed) : random_(seed, "random config") {}
  int64_t between(int64_t low, int64_t high) {  // both included
    return low + static_cast<int64_t>(random_.below(next_++, static_cast<uint64_t>(high - low + 1)));
  }
  bool one_in(int64_t n) { return between(1, n) == 1; }
  template <class T>
  T of(std::initializer_list<T> values) {
    return values.begin()[between(0, static_cast<int64_t>(values.size()) - 1)];
  }

 private:
  Random random_;
  uint64_t next_ = 0;
};

inline model::RopeScalingConfig draw_scaling(Draws& draw) {
  using model::RopeScalingKind;
  switch (draw.of({RopeScalingKind::linear, RopeScalingKind::llama3, RopeScalingKind::yarn})) {
    case RopeScalingKind::linear: return {.kind = RopeScalingKind::linear, .factor = 4};
    case RopeScalingKind::llama3:
      return {.kind = RopeScalingKind::llama3,
              .factor = 4,
              .original_max_position = 8,
              .low_freq_factor = 1,
              .high_freq_factor = 4};
    default: return {.kind = RopeScalingKind::yarn, .factor = 4, .original_max_position = 8};
  }
}

inline void draw_attention(Draws& draw, model::AttentionConfig& a) {
  a.num_heads = draw.of<int64_t>({2, 3, 4, 6});
  a.num_kv_heads = draw.one_in(2) ? a.num_heads : draw.of<int64_t>({1, a.num_heads % 2 == 0 ? a.num_heads / 2 : 1});
  a.head_dim = draw.of<int64_t>({4, 6, 8});
  a.qk_norm = draw.of({model::QkNorm::none, model::QkNorm::head, model::QkNorm::full});
  a.bias = draw.of({model::AttentionBias::none, model::AttentionBias::qkv, model::AttentionBias::all});
  a.clip_qkv = draw.one_in(4) ? 0.5 : 0.0;
  a.window = draw.one_in(3) ? draw.between(2, 6) : 0;  // of 1: every gradient of q and k is rounding
  a.sinks = draw.one_in(3);
  a.soft_cap = draw.one_in(4) ? 5.0 : 0.0;
  a.rope.fraction = a.head_dim == 8 && draw.one_in(2) ? 0.5 : 1.0;
  if (draw.one_in(2)) a.rope.scaling = draw_scaling(draw);
}

inline std::vector<moe::BalanceConfig> draw_balance(Draws& draw) {
  std::vector<moe::BalanceConfig> list;
  for (const auto scope :
       {moe::BalanceScope::micro_batch, moe::BalanceScope::sequence, moe::BalanceScope::global_batch})
    if (draw.one_in(3)) list.push_back({.scope = scope, .coefficient = 0.1});
  for (const auto kind : {moe::BalanceKind::sequence, moe::BalanceKind::hf_pooled, moe::BalanceKind::z_loss})
    if (draw.one_in(3)) list.push_back({.kind = kind, .coefficient = 0.01});
  if (draw.one_in(3))
    list.push_back({.kind = moe::BalanceKind::bias,
                    .rate = 0.01,
                    .rule = draw.of({moe::BiasRule::automatic, moe::BiasRule::sign, moe::BiasRule::proportional})});
  return list;
}

// For experts and top_k that are drawn already.
inline moe::GroupsConfig draw_groups(Draws& draw, const moe::MoeConfig& m) {
  moe::GroupsConfig groups;
  groups.count = draw.of<int64_t>({1, 2, 3, 4});
  if (m.num_experts % groups.count != 0) groups.count = 1;
  const int64_t size = m.num_experts / groups.count;
  groups.keep = draw.between((m.top_k + size - 1) / size, groups.count);
  if (size >= 2) groups.score = draw.of({moe::GroupScore::max, moe::GroupScore::top2_sum});
  groups.mask = draw.of({moe::GroupMask::neg_inf, moe::GroupMask::zero});
  return groups;
}

inline void draw_moe(Draws& draw, moe::MoeConfig& m) {
  m.num_experts = draw.of<int64_t>({2, 3, 4, 8, 12});
  m.top_k = draw.between(1, std::min<int64_t>(m.num_experts, 4));
  m.intermediate_size = draw.of<int64_t>({4, 6, 8, 12});
  m.activation =
      draw.of({ops::Activation::swiglu, ops::Activation::geglu, ops::Activation::gelu, ops::Activation::relu2});
  m.shared = {.num_experts = draw.between(0, 2),
              .intermediate_size = draw.of<int64_t>({4, 6, 8}),
              .gate = draw.of({moe::SharedGate::none, moe::SharedGate::sigmoid})};
  m.router.score = draw.of({moe::RouterScore::softmax, moe::RouterScore::sigmoid});
  if (m.router.score == moe::RouterScore::softmax)
    m.router.score_order = draw.of({moe::ScoreOrder::before, moe::ScoreOrder::after});
  m.router.normalize = draw.one_in(2);
  m.router.scale = draw.of({1.0, 2.5});
  m.router.selection_bias = draw.one_in(4);  // with kind bias or without
  m.router.groups = draw_groups(draw, m);
  m.balance = draw_balance(draw);
}

inline train::ExperimentConfig draw_config(Draws& draw) {
  train::ExperimentConfig c;
  model::ModelConfig& m = c.model;
  m.vocab_size = draw.between(5, 40);
  m.hidden_size = draw.between(3, 24);
  m.num_layers = draw.between(1, 3);
  m.max_position = 16;
  m.tie_embeddings = draw.one_in(2);
  m.norm.kind = draw.of({model::NormKind::rms, model::NormKind::layer});
  m.init.std = 0.3;
  m.mlp.intermediate_size = draw.of<int64_t>({4, 8, 12});
  m.mlp.activation = draw.of({ops::Activation::swiglu, ops::Activation::gelu});
  m.mlp.bias = draw.one_in(3);
  draw_attention(draw, m.attention);
  draw_moe(draw, m.moe);
  if (draw.one_in(10))
    m.moe.layers.reset();
  else
    m.moe.layers = moe::LayerPattern{.first = draw.between(0, m.num_layers - 1), .every = draw.between(1, 2)};
  if (m.moe.layers && draw.one_in(3)) m.moe.layers->except = {draw.between(0, m.num_layers - 1)};
  int64_t with_experts = 0;
  for (int64_t i = 0; i < m.num_layers; ++i) with_experts += m.is_moe(i) ? 1 : 0;
  if (m.moe.layers && with_experts == 0) m.moe.layers->except.clear();
  c.run.seed = draw.between(0, 1000);
  c.data.sequence_length = draw.of<int64_t>({4, 8, 12});
  c.data.document_mask = draw.one_in(3);
  c.train.micro_batch_size = draw.between(1, 3);
  c.train.global_batch_size = c.train.micro_batch_size * draw.of<int64_t>({1, 2, 4, 8});
  c.train.dtype = DType::f64;
  c.train.recompute = draw.of({train::Recompute::none, train::Recompute::moe, train::Recompute::full});
  c.train.clip_grad = draw.of({0.0, 0.5});
  c.schedule = {.kind = optim::ScheduleKind::constant, .lr = 3e-3, .warmup_steps = 0};
  return c;
}

// One of the layouts that `ranks` ranks and fewer allow.
inline verify::Layout draw_layout(Draws& draw, const train::ExperimentConfig& config, int64_t ranks) {
  const std::vector<verify::Layout> fit =
      verify::layouts_of(config, std::vector<int>(static_cast<size_t>(ranks), 0)).fit;
  std::vector<verify::Layout> shared;  // those of one rank have little to show
  for (const verify::Layout& layout : fit)
    if (layout.ranks() > 1) shared.push_back(layout);
  const auto& from = shared.empty() ? fit : shared;
  return from[static_cast<size_t>(draw.between(0, static_cast<int64_t>(from.size()) - 1))];
}

}  // namespace switchyard::test
