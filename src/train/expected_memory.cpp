// Memory of a step. What a rank holds is what the placements of the parameters say.
//   T tokens of a micro-batch, D width, F width of a feed-forward part, V vocabulary
#include "switchyard/train/expected_memory.h"

#include "kernels/products.h"
#include "switchyard/ops/activation.h"
#include "switchyard/ops/loss.h"
#include "switchyard/parallel/placement.h"

#include <algorithm>
#include <map>

namespace switchyard::train {
namespace {

struct Kept {  // of a layer: bytes that forward keeps for backward, and those that backward computes again
  int64_t bytes, again;
};

// What one rank holds, and the bytes of a micro-batch there.
class RankMemory {
 public:
  RankMemory(const ExperimentConfig& config, model::Decoder& model, const parallel::Mesh& mesh);
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
  Kept kept_of(int64_t layer) const;
  std::string layer_name(int64_t layer) const { return fmt::format("layers.{}", layer); }

  const ExperimentConfig& c_;
  const model::ModelConfig& m_;
  std::map<std::string, Box> boxes_;                 // by parameter
  int64_t element_, sum_, D_;                        // bytes of an element and of a sum
  int64_t tensor_, T_, own_, expert_rows_;           // T: gathered over tensor ranks; own: those between layers
  int64_t exchanged_rows_ = 0;                       // that are there at once while a layer's tokens travel
  int64_t elements_ = 0, updated_ = 0, packed_ = 0;  // updated: elements whose optimizer state this rank keeps
};

RankMemory::RankMemory(const ExperimentConfig& config, model::Decoder& model, const parallel::Mesh& mesh)
    : c_(config),
      m_(config.model),
      element_(size_of(config.train.dtype)),
      sum_(size_of(accumulate_type(config.train.dtype))),
      D_(config.model.hidden_size),
      tensor_(mesh.tensor().size()),
      T_(config.train.micro_batch_size * config.data.sequence_length),
      own_((T_ + tensor_ - 1) / tensor_),
      expert_rows_(own_ * config.model.moe.top_k * mesh.expert_tensor().size()) {
  if (m_.moe.layers) exchanged_rows_ = model.moe_layers().front()->rows_under_way(own_);
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
    if (current_device() == Device::cpu && kernels::packing_pays(exec::Cpu{}, args, are_experts ? expert_rows_ : T_))
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
  return element_ * rows * F * (ops::input_matrices(activation) + 1);
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

// Gradients under way in the backward pass of a layer's widest part: inside the experts, or on the way to them.
int64_t RankMemory::transient_bytes() const {
  int64_t moe = 0;
  for (int64_t i = 0; i < m_.num_layers && moe == 0; ++i) {
    if (!m_.is_moe(i)) continue;
    const int64_t F = box(layer_name(i) + ".moe.experts.down").extent[2];
    moe = std::max(exchanged_rows_ * D_, expert_rows_ * (D_ + 2 * ops::input_matrices(m_.moe.activation) * F));
  }
  return element_ * (2 * D_ * T_ + moe);
}

Kept RankMemory::kept_of(int64_t layer) const {
  const std::string name = layer_name(layer);
  const int64_t attention = attention_bytes(name), input = element_ * D_ * own_;
  const int64_t ffn = m_.is_moe(layer) ? moe_bytes(name) : dense_bytes(name);
  if (c_.train.recompute == Recompute::full) return {input, attention + ffn - input};
  if (c_.train.recompute == Recompute::moe && m_.is_moe(layer)) return {attention + input, ffn - input};
  return {attention + ffn, 0};
}

ExpectedMemory RankMemory::expected() const {
  ExpectedMemory memory;
  memory.weights = elements_ * element_;
  memory.packed = packed_;
  memory.gradients = elements_ * sum_;
  memory.optimizer = updated_ * sum_ * (element_ < sum_ ? 3 : 2);
  int64_t again = 0;
  for (int64_t i = 0; i < m_.num_layers; ++i) {
    const Kept kept = kept_of(i);
    memory.activations += kept.bytes;
    again = std::max(again, kept.again);
  }
  memory.activations += std::max(head_bytes(), again + transient_bytes());
  return memory;
}

}  // namespace

BytesByPurpose ExpectedMemory::by_purpose() const {
  BytesByPurpose bytes{};
  for (const auto& [purpose, count] :
       {std::pair{Purpose::weights, weights}, std::pair{Purpose::packed, packed},
        std::pair{Purpose::gradients, gradients}, std::pair{Purpose::optimizer, optimizer},
        std::pair{Purpose::activations, activations}})
    bytes[static_cast<size_t>(purpose)] = count;
  return bytes;
}

ExpectedMemory expected_memory(const ExperimentConfig& config, model::Decoder& model, const parallel::Mesh& mesh) {
  return RankMemory(config, model, mesh).expected();
}

}  // namespace switchyard::train
