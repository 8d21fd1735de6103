// Arithmetic and memory of a step. What a rank holds is what the placements of the parameters say.
//   T tokens of a micro-batch, D width, F width of a feed-forward part, V vocabulary
#include "switchyard/bench/cost.h"

#include "kernels/products.h"
#include "switchyard/ops/loss.h"
#include "switchyard/parallel/placement.h"

#include <algorithm>
#include <map>

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
    list.push_back({layers, inner_matrices(activation) * F, D, visits});
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

// What one rank holds, and the bytes of a micro-batch there.
class RankMemory {
 public:
  RankMemory(const train::ExperimentConfig& config, model::Decoder& model, const parallel::Mesh& mesh);
  ExpectedMemory expected() const;

 private:
  void add(const nn::Parameter& parameter, const Box& box, int64_t replicas);
  void add_packed(const Box& box, nn::View view);
  const Box& box(const std::string& name) const { return boxes_.at(name); }
  int64_t attention_bytes(const std::string& layer) const;
  int64_t ffn_bytes(ops::Activation activation, int64_t rows, int64_t F) const;
  int64_t moe_bytes(const std::string& layer) const;
  int64_t dense_bytes(const std::string& layer) const;
  int64_t head_bytes() const;
  int64_t transient_bytes() const;
  std::string layer_name(int64_t layer) const { return fmt::format("layers.{}", layer); }

  const train::ExperimentConfig& c_;
  const model::ModelConfig& m_;
  std::map<std::string, Box> boxes_;                 // by parameter
  int64_t element_, sum_, D_;                        // bytes of an element and of a sum
  int64_t tensor_, T_, own_, expert_rows_;           // T: gathered over tensor ranks; own: those between layers
  int64_t elements_ = 0, updated_ = 0, packed_ = 0;  // updated: elements whose optimizer state this rank keeps
};

RankMemory::RankMemory(const train::ExperimentConfig& config, model::Decoder& model, const parallel::Mesh& mesh)
    : c_(config),
      m_(config.model),
      element_(size_of(config.train.dtype)),
      sum_(size_of(accumulate_type(config.train.dtype))),
      D_(config.model.hidden_size),
      tensor_(mesh.tensor().size()),
      T_(config.train.micro_batch_size * config.data.sequence_length),
      own_((T_ + tensor_ - 1) / tensor_),
      expert_rows_(own_ * config.model.moe.top_k * mesh.expert_tensor().size()) {
  for (const nn::Parameter* p : model.parameters())
    add(*p, boxes_[p->name] = parallel::local_box(*p, mesh), mesh.replicas(p->placement).size());
}

void RankMemory::add(const nn::Parameter& p, const Box& box, int64_t replicas) {
  elements_ += box.numel();
  updated_ += c_.parallel.zero >= 1 ? box.numel() / replicas : box.numel();
  const bool is_look_up = p.name.starts_with("embedding.") && !m_.tie_embeddings;
  const bool is_matrix = p.decay;  // weight decay applies to matrices alone
  if (is_matrix && !is_look_up && !p.name.ends_with("router.weight")) add_packed(box, p.placement.view);
}

void RankMemory::add_packed(const Box& box, nn::View view) {
  const bool are_experts = view == nn::View::expert;
  const int64_t G = are_experts ? box.extent[0] : 1, K = box.extent.back(), N = box.numel() / (G * K);
  for (const auto product : {kernels::RowProduct::forward, kernels::RowProduct::input_gradient}) {
    const kernels::PackArgs args{product, nullptr, nullptr, G, N, K, c_.train.dtype};
    if (kernels::packing_pays(exec::Cpu{}, args, are_experts ? expert_rows_ : T_))
      packed_ += kernels::packed_bytes(exec::Cpu{}, args);
  }
}

// What one layer's attention keeps: the residual and its norm; q, k and v (also before their norm), the output, and the
// logarithm of the softmax's sum.
int64_t RankMemory::attention_bytes(const std::string& layer) const {
  const int64_t q = box(layer + ".attention.q.weight").extent[0], kv = box(layer + ".attention.k.weight").extent[0];
  const int64_t before_norm = m_.attention.qk_norm == model::QkNorm::none ? 0 : q + kv;
  return element_ * (D_ * (own_ + T_) + T_ * (before_norm + 2 * q + 2 * kv)) + 4 * T_ * q / m_.attention.head_dim;
}

// The same for a feed-forward part of width F that `rows` rows pass.
int64_t RankMemory::ffn_bytes(ops::Activation activation, int64_t rows, int64_t F) const {
  return element_ * rows * F * (inner_matrices(activation) + 1);
}

int64_t RankMemory::moe_bytes(const std::string& layer) const {
  const moe::MoeConfig& m = m_.moe;
  int64_t bytes = element_ * D_ * (2 * own_ + expert_rows_);  // residual, norm, rows
  bytes += ffn_bytes(m.activation, expert_rows_, box(layer + ".moe.experts.down").extent[2]);
  bytes += own_ * (4 * m.num_experts + 16 * m.top_k);  // logits; experts, weights, positions, weights of rows
  if (m.shared.num_experts > 0) {
    bytes += ffn_bytes(m.activation, T_, box(layer + ".moe.shared.down").extent[1]);
    if (tensor_ > 1) bytes += element_ * D_ * T_;
    if (m.shared.gate != moe::SharedGate::none) bytes += element_ * D_ * own_;
  }
  return bytes;
}

int64_t RankMemory::dense_bytes(const std::string& layer) const {
  return element_ * D_ * (own_ + T_) + ffn_bytes(m_.mlp.activation, T_, box(layer + ".mlp.down").extent[1]);
}

// The head works on chunks of logits; its gradients wait until backward begins.
int64_t RankMemory::head_bytes() const {
  const int64_t V = box(m_.tie_embeddings ? "embedding.weight" : "head.weight").extent[0];
  const int64_t rows = std::min(T_, ops::loss_chunk_rows(m_.vocab_size, tensor_));
  return rows * V * (4 + (element_ < 4 ? element_ : 0)) + 4 * V * D_ + 3 * T_ * D_ * element_;
}

// Gradients under way in the backward pass of a layer's widest part.
int64_t RankMemory::transient_bytes() const {
  int64_t moe = 0;
  for (int64_t i = 0; i < m_.num_layers && moe == 0; ++i)
    if (m_.is_moe(i))
      moe = expert_rows_ *
            (D_ + 2 * inner_matrices(m_.moe.activation) * box(layer_name(i) + ".moe.experts.down").extent[2]);
  return element_ * (2 * D_ * T_ + moe);
}

ExpectedMemory RankMemory::expected() const {
  ExpectedMemory memory;
  memory.weights = elements_ * element_;
  memory.packed = packed_;
  memory.gradients = elements_ * sum_;
  memory.optimizer = updated_ * sum_ * (element_ < sum_ ? 3 : 2);
  for (int64_t i = 0; i < m_.num_layers; ++i)
    memory.activations +=
        attention_bytes(layer_name(i)) + (m_.is_moe(i) ? moe_bytes(layer_name(i)) : dense_bytes(layer_name(i)));
  memory.activations += std::max(head_bytes(), transient_bytes());
  return memory;
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

ExpectedMemory expected_memory(const train::ExperimentConfig& config, model::Decoder& model,
                               const parallel::Mesh& mesh) {
  return RankMemory(config, model, mesh).expected();
}

}  // namespace switchyard::bench
