// The decoder: embedding, layers of attention and feed-forward (dense or mixture of experts), final norm, head.
//   B sequences, S positions, s of them on this rank, T = B * S tokens, D width, V vocabulary
// The lines are those of one rank. What tensor ranks add is in `Sequence` (cut by position between layers),
// `VocabularyPart` and the placements of parameters; attention asks the mesh for the heads of its cache, an MoE layer
// for its dispatcher.
#pragma once

#include "switchyard/model/attention.h"
#include "switchyard/moe/layer.h"
#include "switchyard/nn/mlp.h"
#include "switchyard/parallel/mesh.h"

#include <memory>

namespace switchyard::model {

// x + attention(norm(x)), then x + ffn(norm(x)), the FFN being dense or a mixture of experts.
class Block {
 public:
  Block(const std::string& name, const ModelConfig& config, int64_t layer, const parallel::Mesh& mesh,
        parallel::DispatcherKind dispatcher);

  Tensor forward(const Tensor& x_BsD, const PassContext& pass, moe::Losses& losses, Recompute recompute);
  Tensor decode(const Tensor& x_BsD, const PassContext& pass, KvCache& cache);
  KvCache make_cache(int64_t sequences, int64_t length, DType dtype) const {
    return attention_.make_cache(sequences, length, dtype);
  }
  moe::MoeLayer* moe() { return moe_.get(); }  // null in a dense layer
  void parameters(nn::Parameters& out);

 private:
  Tensor feed_forward(const Tensor& x_BsD, const PassContext& pass, moe::Losses& losses);
  Tensor whole(const Tensor& x_BsD, const PassContext& pass, moe::Losses& losses, Recompute recompute);

  nn::Norm attention_norm_;
  Attention attention_;
  nn::Norm ffn_norm_;
  std::unique_ptr<nn::Mlp> mlp_;
  std::unique_ptr<moe::MoeLayer> moe_;
};

// The language-model loss and the balance losses of one micro-batch on this rank. `total` is what backward starts from;
// every value is this rank's partial sum: added over micro-batches and ranks it is the value of the step. Only lm is
// the same on all tensor ranks: it counts once.
struct LossTerms {
  Tensor total;
  Tensor lm;
  moe::Losses balance;
};

class Decoder {
 public:
  Decoder(const ModelConfig& config, const parallel::Mesh& mesh, parallel::DispatcherKind dispatcher, DType dtype);

  // Residual stream after the final norm, (B, s, D), for i32 token ids (B, S). `residuals` takes the stream before each
  // layer and behind the last, (B, S, D), outside the graph.
  Tensor hidden(const Tensor& tokens_BS, const Tensor& document_BS, moe::Losses& losses,
                Recompute recompute = Recompute::none, Tensors* residuals = nullptr);
  // (B, S, V) f32 or f64 of what hidden() returned for S positions; no gradient.
  Tensor logits(const Tensor& hidden_BsD, int64_t positions) const;

  // Targets i32 (B, S), -1: no loss. `token_share` is 1 / loss tokens of the global batch.
  LossTerms loss(const Tensor& tokens_BS, const Tensor& targets_BS, const Tensor& document_BS, double token_share,
                 Recompute recompute);

  Tensor token_losses(const Tensor& tokens_BS, const Tensor& targets_BS,
                      const Tensor& document_BS);  // (T) f32, no gradient

  // Decoding, without gradients: logits (B, V) f32 of the last position after appending tokens (B, S) to the caches.
  std::vector<KvCache> make_caches(int64_t sequences, int64_t length) const;
  Tensor next_logits(const Tensor& tokens_BS, std::vector<KvCache>& caches);

  nn::Parameters parameters();
  std::vector<moe::MoeLayer*> moe_layers();  // in layer order
  const ModelConfig& config() const { return config_; }

 private:
  const Tensor& head() const;                                                       // (V, D), this rank's rows
  Tensor embed(const Tensor& tokens_BS, const parallel::Sequence& sequence) const;  // (B, s, D)

  ModelConfig config_;
  comm::Group tensor_;
  ops::VocabularyPart vocabulary_;
  DType dtype_;
  ops::RopeTable rope_;
  nn::Embedding embedding_;
  std::vector<std::unique_ptr<Block>> blocks_;
  nn::Norm norm_;
  std::optional<nn::Parameter> head_;  // absent when tied to the embedding
};

}  // namespace switchyard::model
