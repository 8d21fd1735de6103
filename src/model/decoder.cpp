// A decoder in the order in which a token passes it.
#include "switchyard/model/decoder.h"

#include "switchyard/autograd/graph.h"
#include "switchyard/model/init.h"
#include "switchyard/model/rope.h"
#include "switchyard/ops/elementwise.h"
#include "switchyard/ops/linear.h"
#include "switchyard/ops/loss.h"
#include "switchyard/ops/packed.h"
#include "switchyard/ops/shape.h"
#include "switchyard/parallel/vocabulary.h"

namespace switchyard::model {
namespace {

Tensor flatten(const Tensor& x_BSD) { return ops::reshape(x_BSD, {x_BSD.dim(0) * x_BSD.dim(1), x_BSD.dim(2)}); }

}  // namespace

Decoder::Decoder(const ModelConfig& config, const parallel::Mesh& mesh, parallel::DispatcherKind dispatcher,
                 DType dtype)
    : config_(config),
      tensor_(mesh.tensor()),
      vocabulary_(parallel::vocabulary_part(tensor_, config.vocab_size)),
      dtype_(dtype),
      rope_(rope_table(config.attention, config.max_position, dtype)),
      embedding_("embedding", config.vocab_size, config.hidden_size, config.init.std),
      norm_("norm", config.norm.kind, config.hidden_size, config.norm.eps) {
  for (int64_t i = 0; i < config.num_layers; ++i)
    blocks_.push_back(std::make_unique<Block>(fmt::format("layers.{}", i), config, i, mesh, dispatcher));
  if (config.tie_embeddings) return;
  head_.emplace();
  head_->name = "head.weight";
  head_->global_shape = {config.vocab_size, config.hidden_size};
  head_->init = input_init(config, config.hidden_size);
  head_->placement = nn::split_vocabulary();
}

const Tensor& Decoder::head() const { return head_ ? head_->value : embedding_.weight(); }

Tensor Decoder::embed(const Tensor& tokens_BS, const parallel::Sequence& sequence) const {
  const Tensor x_TD = embedding_(tokens_BS.flat(), vocabulary_);
  return sequence.sum(ops::reshape(x_TD, {tokens_BS.dim(0), tokens_BS.dim(1), config_.hidden_size}));
}

Tensor Decoder::hidden(const Tensor& tokens_BS, const Tensor& document_BS, moe::Losses& losses, Recompute recompute,
                       Tensors* residuals) {
  const int64_t S = tokens_BS.dim(1);
  check(S <= config_.max_position, "decoder: {} positions, model.max_position={}", S, config_.max_position);
  const PassContext pass{.rope = rope_, .sequence = {tensor_, S}, .document_BS = document_BS};
  Tensor x_BsD = embed(tokens_BS, pass.sequence);
  for (const auto& block : blocks_) {
    if (residuals) residuals->push_back(pass.sequence.gather(x_BsD.detach()));
    x_BsD = block->forward(x_BsD, pass, losses, recompute);
  }
  if (residuals) residuals->push_back(pass.sequence.gather(x_BsD.detach()));
  return norm_(x_BsD);
}

Tensor Decoder::logits(const Tensor& hidden_BsD, int64_t positions) const {
  const autograd::NoGrad no_grad;
  const Tensor x_BSD = parallel::Sequence(tensor_, positions).gather(hidden_BsD.detach());
  const Tensor logits_Tv = ops::linear_f32(flatten(x_BSD), head().detach());
  return parallel::gather_logits(logits_Tv, tensor_, config_.vocab_size)
      .view({x_BSD.dim(0), positions, config_.vocab_size});
}

LossTerms Decoder::loss(const Tensor& tokens_BS, const Tensor& targets_BS, const Tensor& document_BS,
                        double token_share, Recompute recompute) {
  LossTerms terms;
  const Tensor x_BsD = hidden(tokens_BS, document_BS, terms.balance, recompute);
  terms.balance.pool();
  const Tensor x_TD = flatten(parallel::Sequence(tensor_, tokens_BS.dim(1)).gather(x_BsD));
  terms.lm = ops::linear_cross_entropy(x_TD, head(), targets_BS.flat(), token_share, vocabulary_);
  Tensors scalars{terms.lm};
  std::vector<double> weights{1.0};
  for (const moe::Losses::Term& term : terms.balance.terms()) {
    scalars.push_back(term.value);
    weights.push_back(term.coefficient);
  }
  terms.total = ops::weighted_sum(scalars, weights);
  return terms;
}

Tensor Decoder::token_losses(const Tensor& tokens_BS, const Tensor& targets_BS, const Tensor& document_BS) {
  const autograd::NoGrad no_grad;
  moe::Losses none;
  const Tensor x_BsD = hidden(tokens_BS, document_BS, none);
  const Tensor x_TD = flatten(parallel::Sequence(tensor_, tokens_BS.dim(1)).gather(x_BsD));
  return ops::cross_entropy_losses(x_TD, head(), targets_BS.flat(), vocabulary_);
}

std::vector<KvCache> Decoder::make_caches(int64_t sequences, int64_t length) const {
  std::vector<KvCache> caches;
  for (const auto& block : blocks_) caches.push_back(block->make_cache(sequences, length, dtype_));
  return caches;
}

Tensor Decoder::next_logits(const Tensor& tokens_BS, std::vector<KvCache>& caches) {
  const autograd::NoGrad no_grad;
  const ops::ReusedWeights reused;
  const int64_t B = tokens_BS.dim(0), S = tokens_BS.dim(1);
  const PassContext pass{
      .rope = rope_, .sequence = {tensor_, S}, .document_BS = {}, .first_position = caches.front().length};
  Tensor x_BsD = embed(tokens_BS, pass.sequence);
  for (size_t i = 0; i < blocks_.size(); ++i) x_BsD = blocks_[i]->decode(x_BsD, pass, caches[i]);
  const Tensor x_BSD = pass.sequence.gather(norm_(x_BsD));
  const Tensor last_BD = x_BSD.slice(1, S - 1, S).contiguous().view({B, config_.hidden_size});
  return parallel::gather_logits(ops::linear_f32(last_BD, head().detach()), tensor_, config_.vocab_size);
}

nn::Parameters Decoder::parameters() {
  nn::Parameters all;
  embedding_.parameters(all);
  for (const auto& block : blocks_) block->parameters(all);
  norm_.parameters(all);
  if (head_) all.push_back(&*head_);
  return all;
}

std::vector<moe::MoeLayer*> Decoder::moe_layers() {
  std::vector<moe::MoeLayer*> layers;
  for (const auto& block : blocks_)
    if (block->moe()) layers.push_back(block->moe());
  return layers;
}

}  // namespace switchyard::model
