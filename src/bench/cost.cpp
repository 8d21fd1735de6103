// Arithmetic of a step: D width, F width of a feed-forward part.
#include "switchyard/bench/cost.h"

#include "switchyard/ops/activation.h"

#include <vector>

namespace switchyard::bench {
namespace {

int64_t num_moe_layers(const model::ModelConfig& c) {
  int64_t count = 0;
  for (int64_t i = 0; i < c.num_layers; ++i) count += c.is_moe(i) ? 1 : 0;
  return count;
}

// Keys that a query sees, on average over a sequence of S.
double mean_keys(int64_t S, int64_t window) {
  if (window <= 0 || window >= S) return static_cast<double>(S) / 2;
  const auto s = static_cast<double>(S), w = static_cast<double>(window);
  return (w * w / 2 + (s - w) * w) / s;
}

// A weight matrix in each of `layers` layers; `visits`: how many like it a token meets in a layer.
struct Matrix {
  int64_t layers, outputs, inputs, visits;
};

// Every matrix that multiplies tokens, the head included; the embedding is a look-up, gates of one row are left out.
std::vector<Matrix> matrices_of(const model::ModelConfig& c) {
  const int64_t D = c.hidden_size, moe_layers = num_moe_layers(c), dense_layers = c.num_layers - moe_layers;
  const int64_t q = c.attention.num_heads * c.attention.head_dim, kv = c.attention.num_kv_heads * c.attention.head_dim;
  std::vector<Matrix> list{{c.num_layers, q, D, 1}, {c.num_layers, 2 * kv, D, 1}, {c.num_layers, D, q, 1}};
  auto add_ffn = [&](int64_t layers, int64_t F, ops::Activation activation, int64_t visits) {
    list.push_back({layers, ops::input_matrices(activation) * F, D, visits});
    list.push_back({layers, D, F, visits});
  };
  if (dense_layers > 0) add_ffn(dense_layers, c.mlp.intermediate_size, c.mlp.activation, 1);
  if (moe_layers > 0) {
    list.push_back({moe_layers, c.moe.num_experts, D, 1});
    add_ffn(moe_layers, c.moe.intermediate_size, c.moe.activation, c.moe.top_k);
    if (c.moe.shared.num_experts > 0) add_ffn(moe_layers, c.moe.shared.width(), c.moe.activation, 1);
  }
  list.push_back({1, c.vocab_size, D, 1});
  return list;
}

}  // namespace

double flops_per_token(const model::ModelConfig& c, int64_t sequence_length) {
  double active = 0;
  for (const Matrix& m : matrices_of(c)) active += static_cast<double>(m.layers * m.visits * m.outputs * m.inputs);
  // Scores and weighted values: 2 operations for each dim of a head and key; backward is twice forward.
  const double attention = 3 * 2 * 2 * mean_keys(sequence_length, c.attention.window) *
                           static_cast<double>(c.num_layers * c.attention.num_heads * c.attention.head_dim);
  return 6 * active + attention;
}

}  // namespace switchyard::bench
