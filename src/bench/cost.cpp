// Arithmetic and memory of a step.     T tokens of a micro-batch, D width, R = T * top_k rows, F width of an expert
#include "switchyard/bench/cost.h"

#include "kernels/products.h"

#include <algorithm>

namespace switchyard::bench {
namespace {

int64_t inner_matrices(ops::Activation activation) { return ops::is_gated(activation) ? 2 : 1; }

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

// What a rank holds of the experts, and how often each of its weights and states is replicated.
struct Sharing {
  int64_t expert_ranks, dense_replicas, expert_replicas;
};

Sharing sharing_of(const train::ExperimentConfig& c, int64_t ranks) {
  const int64_t expert = c.parallel.expert;
  return {expert, ranks, ranks / expert};
}

// Norms, biases, sinks and the gates of shared experts.
int64_t vector_elements(const model::ModelConfig& c) {
  const model::AttentionConfig& a = c.attention;
  const int64_t q = a.num_heads * a.head_dim, kv = a.num_kv_heads * a.head_dim;
  int64_t layer = 0;
  if (a.qk_norm == model::QkNorm::head) layer += 2 * a.head_dim;
  if (a.qk_norm == model::QkNorm::full) layer += q + kv;
  if (a.bias != model::AttentionBias::none) layer += q + 2 * kv;
  if (a.bias == model::AttentionBias::all) layer += c.hidden_size;
  if (a.sinks) layer += a.num_heads;
  const int64_t dense = c.mlp.bias ? inner_matrices(c.mlp.activation) * c.mlp.intermediate_size + c.hidden_size : 0;
  const int64_t norm = c.hidden_size * (c.norm.kind == nn::NormKind::layer ? 2 : 1);
  const int64_t gates = c.moe.shared.gate == moe::SharedGate::none ? 0 : num_moe_layers(c) * c.hidden_size;
  return c.num_layers * (layer + 2 * norm) + (c.num_layers - num_moe_layers(c)) * dense + norm + gates;
}

// Elements on this rank, and those whose optimizer state it keeps.
struct Held {
  int64_t elements = 0, updated = 0;
};

Held held_elements(const train::ExperimentConfig& c, const Sharing& s) {
  Held held;
  const bool shards = c.parallel.zero >= 1;
  auto add = [&](int64_t elements, int64_t replicas) {
    held.elements += elements;
    held.updated += shards ? elements / replicas : elements;
  };
  for (const Matrix& m : matrices_of(c.model))
    if (m.are_experts)
      add(m.elements() / s.expert_ranks, s.expert_replicas);
    else if (m.name != "head" || !c.model.tie_embeddings)
      add(m.elements(), s.dense_replicas);
  add(c.model.vocab_size * c.model.hidden_size + vector_elements(c.model), s.dense_replicas);  // embedding, vectors
  return held;
}

int64_t packed_copies(const train::ExperimentConfig& c, const Sharing& s, int64_t T) {
  int64_t bytes = 0;
  for (const Matrix& m : matrices_of(c.model)) {
    if (m.name == "router") continue;
    const int64_t experts = m.are_experts ? m.experts / s.expert_ranks : 1;
    for (const auto product : {kernels::RowProduct::forward, kernels::RowProduct::input_gradient}) {
      const kernels::PackArgs args{product, nullptr, nullptr, experts, m.outputs, m.inputs, c.train.dtype};
      if (kernels::packing_pays(exec::Cpu{}, args, T * m.visits))
        bytes += m.layers * kernels::packed_bytes(exec::Cpu{}, args);
    }
  }
  return bytes;
}

// Bytes kept by one layer's attention, per token: the residual and its norm; q, k and v (also before their norm), the
// output, and the logarithm of the softmax's sum.
int64_t attention_bytes(const model::ModelConfig& c, int64_t element) {
  const model::AttentionConfig& a = c.attention;
  const int64_t q = a.num_heads * a.head_dim, kv = a.num_kv_heads * a.head_dim;
  const int64_t before_norm = a.qk_norm == model::QkNorm::none ? 0 : q + kv;
  return element * (2 * c.hidden_size + before_norm + 2 * q + 2 * kv) + 4 * a.num_heads;
}

// The same for a feed-forward part of width F that `rows` rows per token pass.
int64_t ffn_bytes(ops::Activation activation, int64_t rows, int64_t F, int64_t element) {
  return element * rows * F * (inner_matrices(activation) + 1);
}

int64_t moe_bytes(const model::ModelConfig& c, int64_t element) {
  const moe::MoeConfig& m = c.moe;
  int64_t bytes = element * (2 * c.hidden_size + m.top_k * c.hidden_size);  // residual, norm, rows
  bytes += ffn_bytes(m.activation, m.top_k, m.intermediate_size, element);
  bytes += 4 * m.num_experts + 16 * m.top_k;  // logits; experts, weights, positions, weights of rows
  if (m.shared.num_experts > 0) {
    bytes += ffn_bytes(m.activation, 1, m.shared.width(), element);
    if (m.shared.gate != moe::SharedGate::none) bytes += element * c.hidden_size;
  }
  return bytes;
}

int64_t dense_bytes(const model::ModelConfig& c, int64_t element) {
  return element * 2 * c.hidden_size + ffn_bytes(c.mlp.activation, 1, c.mlp.intermediate_size, element);
}

// The head works on chunks of about 4 Mi logits; its gradients wait until backward begins.
int64_t head_bytes(const model::ModelConfig& c, int64_t T, int64_t element) {
  const int64_t rows = std::min(T, std::clamp<int64_t>((1 << 22) / c.vocab_size / 64 * 64, 128, 2048));
  return rows * c.vocab_size * (4 + (element < 4 ? element : 0)) + 4 * c.vocab_size * c.hidden_size +
         3 * T * c.hidden_size * element;
}

// Gradients under way in the backward pass of a layer's widest part.
int64_t transient_bytes(const model::ModelConfig& c, int64_t element) {
  const int64_t moe =
      num_moe_layers(c) > 0
          ? c.moe.top_k * (c.hidden_size + 2 * inner_matrices(c.moe.activation) * c.moe.intermediate_size)
          : 0;
  return element * (2 * c.hidden_size + moe);
}

}  // namespace

std::vector<Matrix> matrices_of(const model::ModelConfig& c) {
  const int64_t D = c.hidden_size, moe_layers = num_moe_layers(c), dense_layers = c.num_layers - moe_layers;
  const int64_t q = c.attention.num_heads * c.attention.head_dim, kv = c.attention.num_kv_heads * c.attention.head_dim;
  std::vector<Matrix> list{{"q", c.num_layers, 1, q, D, 1},
                           {"k", c.num_layers, 1, kv, D, 1},
                           {"v", c.num_layers, 1, kv, D, 1},
                           {"out", c.num_layers, 1, D, q, 1}};
  auto add_ffn = [&](const std::string& name, int64_t layers, int64_t experts, int64_t F, ops::Activation activation,
                     int64_t visits, bool are_experts) {
    list.push_back({name + " up", layers, experts, inner_matrices(activation) * F, D, visits, are_experts});
    list.push_back({name + " down", layers, experts, D, F, visits, are_experts});
  };
  if (dense_layers > 0) add_ffn("dense", dense_layers, 1, c.mlp.intermediate_size, c.mlp.activation, 1, false);
  if (moe_layers > 0) {
    list.push_back({"router", moe_layers, 1, c.moe.num_experts, D, 1});
    add_ffn("experts", moe_layers, c.moe.num_experts, c.moe.intermediate_size, c.moe.activation, c.moe.top_k, true);
    if (c.moe.shared.num_experts > 0)
      add_ffn("shared", moe_layers, 1, c.moe.shared.width(), c.moe.activation, 1, false);
  }
  list.push_back({"head", 1, 1, c.vocab_size, D, 1});
  return list;
}

double flops_per_token(const model::ModelConfig& c, int64_t sequence_length) {
  double active = 0;
  for (const Matrix& m : matrices_of(c)) active += static_cast<double>(m.layers * m.visits * m.outputs * m.inputs);
  // Scores and weighted values: 2 operations for each dim of a head and key; backward is twice forward.
  const double attention = 3 * 2 * 2 * mean_keys(sequence_length, c.attention.window) *
                           static_cast<double>(c.num_layers * c.attention.num_heads * c.attention.head_dim);
  return 6 * active + attention;
}

ExpectedMemory expected_memory(const train::ExperimentConfig& c, int64_t ranks) {
  const Sharing sharing = sharing_of(c, ranks);
  const int64_t T = c.train.micro_batch_size * c.data.sequence_length;
  const int64_t element = size_of(c.train.dtype), sum = size_of(accumulate_type(c.train.dtype));
  const Held held = held_elements(c, sharing);
  const int64_t moe_layers = num_moe_layers(c.model);
  ExpectedMemory memory;
  memory.weights = held.elements * element;
  memory.packed = packed_copies(c, sharing, T);
  memory.gradients = held.elements * sum;
  memory.optimizer = held.updated * sum * (element < sum ? 3 : 2);
  memory.activations =
      T * (c.model.num_layers * attention_bytes(c.model, element) + moe_layers * moe_bytes(c.model, element) +
           (c.model.num_layers - moe_layers) * dense_bytes(c.model, element)) +
      std::max(head_bytes(c.model, T, element), T * transient_bytes(c.model, element));
  return memory;
}

}  // namespace switchyard::bench
