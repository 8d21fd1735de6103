// Projections, norms, rotation, attention, output projection.
#include "switchyard/model/attention.h"

#include "switchyard/model/init.h"
#include "switchyard/ops/attention.h"
#include "switchyard/ops/shape.h"

#include <cmath>

namespace switchyard::model {
namespace {

ops::AttentionOptions options_of(const AttentionConfig& config) {
  return {.scale = 1.0 / std::sqrt(static_cast<double>(config.head_dim)),
          .window = config.window,
          .soft_cap = config.soft_cap};
}

// (B, S, heads * d) -> (B, S, heads, d)
Tensor split_heads(const Tensor& x, int64_t head_dim) {
  return ops::reshape(x, {x.dim(0), x.dim(1), x.dim(2) / head_dim, head_dim});
}

Tensor merge_heads(const Tensor& x) { return ops::reshape(x, {x.dim(0), x.dim(1), x.dim(2) * x.dim(3)}); }

}  // namespace

Attention::Attention(const std::string& name, const ModelConfig& c)
    : config_(c.attention),
      q_(name + ".q", config_.num_heads * config_.head_dim, c.hidden_size, input_init(c, c.hidden_size),
         config_.bias != AttentionBias::none),
      k_(name + ".k", config_.num_kv_heads * config_.head_dim, c.hidden_size, input_init(c, c.hidden_size),
         config_.bias != AttentionBias::none),
      v_(name + ".v", config_.num_kv_heads * config_.head_dim, c.hidden_size, input_init(c, c.hidden_size),
         config_.bias != AttentionBias::none),
      out_(name + ".out", c.hidden_size, config_.num_heads * config_.head_dim,
           output_init(c, config_.num_heads * config_.head_dim), config_.bias == AttentionBias::all) {
  if (config_.qk_norm != QkNorm::none) {
    const int64_t heads = config_.qk_norm == QkNorm::full ? config_.num_heads : 1;
    const int64_t kv_heads = config_.qk_norm == QkNorm::full ? config_.num_kv_heads : 1;
    q_norm_.emplace(name + ".q_norm", nn::NormKind::rms, heads * config_.head_dim, c.norm.eps);
    k_norm_.emplace(name + ".k_norm", nn::NormKind::rms, kv_heads * config_.head_dim, c.norm.eps);
  }
  if (config_.sinks) {
    sinks_.emplace();
    sinks_->name = name + ".sinks";
    sinks_->global_shape = {config_.num_heads};
    sinks_->decay = false;
    sinks_->init = {nn::InitKind::zeros, 0};
  }
}

Attention::Heads Attention::project(const Tensor& x_BSD, const PassContext& pass) const {
  Tensor q = q_(x_BSD), k = k_(x_BSD);
  if (config_.qk_norm == QkNorm::full) q = (*q_norm_)(q), k = (*k_norm_)(k);
  q = split_heads(q, config_.head_dim), k = split_heads(k, config_.head_dim);
  if (config_.qk_norm == QkNorm::head) q = (*q_norm_)(q), k = (*k_norm_)(k);
  return {ops::rope(q, pass.rope, pass.first_position), ops::rope(k, pass.rope, pass.first_position),
          split_heads(v_(x_BSD), config_.head_dim)};
}

Tensor Attention::forward(const Tensor& x_BSD, const PassContext& pass) const {
  const Heads h = project(x_BSD, pass);
  return out_(merge_heads(ops::attention(h.q_BSHd, h.k_BSGd, h.v_BSGd, options_of(config_),
                                         sinks_ ? sinks_->value : Tensor{}, pass.document_BS)));
}

Tensor Attention::decode(const Tensor& x_BSD, const PassContext& pass, KvCache& cache) const {
  const Heads h = project(x_BSD, pass);
  const int64_t end = cache.length + x_BSD.dim(1);
  check(end <= cache.k.dim(1), "kv cache holds {} positions, {} needed", cache.k.dim(1), end);
  cache.k.slice(1, cache.length, end).copy_from(h.k_BSGd);
  cache.v.slice(1, cache.length, end).copy_from(h.v_BSGd);
  cache.length = end;
  return out_(merge_heads(
      ops::attend_cached(h.q_BSHd, cache.k, cache.v, end, options_of(config_), sinks_ ? sinks_->value : Tensor{})));
}

KvCache Attention::make_cache(int64_t sequences, int64_t length, DType dtype) const {
  const Shape shape{sequences, length, config_.num_kv_heads, config_.head_dim};
  return {Tensor::zeros(shape, dtype, Purpose::buffers), Tensor::zeros(shape, dtype, Purpose::buffers), 0};
}

void Attention::parameters(nn::Parameters& out) {
  for (nn::Linear* linear : {&q_, &k_, &v_}) linear->parameters(out);
  if (q_norm_) q_norm_->parameters(out), k_norm_->parameters(out);
  if (sinks_) out.push_back(&*sinks_);
  out_.parameters(out);
}

}  // namespace switchyard::model
