// Projections, norms, rotation, attention, output projection.
#include "switchyard/model/attention.h"

#include "switchyard/model/init.h"
#include "switchyard/ops/attention.h"
#include "switchyard/ops/elementwise.h"
#include "switchyard/ops/shape.h"
#include "switchyard/parallel/split_norm.h"

#include <algorithm>
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

nn::LinearOptions split_heads_of(const AttentionConfig& config, int64_t max_parts) {
  return {.has_bias = config.bias != AttentionBias::none, .split = nn::Split::outputs, .max_parts = max_parts};
}

}  // namespace

Attention::Attention(const std::string& name, const ModelConfig& c, const parallel::Mesh& mesh)
    : config_(c.attention),
      num_kv_heads_(std::max<int64_t>(1, config_.num_kv_heads / mesh.tensor().size())),
      q_(name + ".q", config_.num_heads * config_.head_dim, c.hidden_size, input_init(c, c.hidden_size),
         split_heads_of(config_, config_.num_heads)),
      k_(name + ".k", config_.num_kv_heads * config_.head_dim, c.hidden_size, input_init(c, c.hidden_size),
         split_heads_of(config_, config_.num_kv_heads)),
      v_(name + ".v", config_.num_kv_heads * config_.head_dim, c.hidden_size, input_init(c, c.hidden_size),
         split_heads_of(config_, config_.num_kv_heads)),
      out_(name + ".out", c.hidden_size, config_.num_heads * config_.head_dim,
           output_init(c, config_.num_heads * config_.head_dim),
           {.has_bias = config_.bias == AttentionBias::all, .split = nn::Split::inputs}) {
  if (config_.qk_norm != QkNorm::none) {
    const bool is_full = config_.qk_norm == QkNorm::full;
    const auto add_norm = [&](std::optional<nn::Norm>& norm, const char* suffix, int64_t heads) {
      const nn::Placement split{nn::View::dense, {{.dim = 0, .axis = "tp", .max_parts = heads}}};
      norm.emplace(name + suffix, nn::NormKind::rms, is_full ? heads * config_.head_dim : config_.head_dim, c.norm.eps,
                   is_full ? split : nn::Placement{});
    };
    add_norm(q_norm_, ".q_norm", config_.num_heads);
    add_norm(k_norm_, ".k_norm", config_.num_kv_heads);
  }
  if (config_.sinks) {
    sinks_.emplace();
    sinks_->name = name + ".sinks";
    sinks_->global_shape = {config_.num_heads};
    sinks_->decay = false;
    sinks_->init = {nn::InitKind::zeros, 0};
    sinks_->placement.shards = {{.dim = 0, .axis = "tp"}};
  }
}

Attention::Heads Attention::project(const Tensor& x_BSD, const PassContext& pass) const {
  Tensor q = q_(x_BSD), k = k_(x_BSD), v = v_(x_BSD);
  if (config_.qk_norm == QkNorm::full) {
    q = full_norm(*q_norm_, q, config_.num_heads, pass);
    k = full_norm(*k_norm_, k, config_.num_kv_heads, pass);
  }
  if (config_.clip_qkv > 0)
    for (Tensor* x : {&q, &k, &v}) *x = ops::clamp(*x, config_.clip_qkv);
  q = split_heads(q, config_.head_dim), k = split_heads(k, config_.head_dim);
  if (config_.qk_norm == QkNorm::head) q = (*q_norm_)(q), k = (*k_norm_)(k);
  return {ops::rope(q, pass.rope, pass.first_position), ops::rope(k, pass.rope, pass.first_position),
          split_heads(v, config_.head_dim)};
}

// Over all heads, of which this rank holds some: as many as there are ranks of `heads` parts.
Tensor Attention::full_norm(const nn::Norm& norm, const Tensor& x, int64_t heads, const PassContext& pass) const {
  const comm::Group& tensor = pass.sequence.tensor();
  return parallel::split_rms_norm(x, norm.weight().value, heads * config_.head_dim, norm.eps(),
                                  std::max<int64_t>(1, tensor.size() / heads), tensor);
}

Tensor Attention::project_out(const Tensor& heads_BSHd, const PassContext& pass) const {
  return out_.add_bias(pass.sequence.sum(out_.product(merge_heads(heads_BSHd))));
}

Tensor Attention::forward(const Tensor& x_BsD, const PassContext& pass) const {
  const Heads h = project(pass.sequence.gather(x_BsD), pass);
  const Tensor y_BSHd = ops::attention(h.q_BSHd, h.k_BSGd, h.v_BSGd, options_of(config_),
                                       sinks_ ? sinks_->value : Tensor{}, pass.document_BS);
  return project_out(y_BSHd, pass);
}

Tensor Attention::decode(const Tensor& x_BsD, const PassContext& pass, KvCache& cache) const {
  const Heads h = project(pass.sequence.gather(x_BsD), pass);
  const int64_t end = cache.length + pass.sequence.positions();
  check(end <= cache.k.dim(1), "kv cache holds {} positions, {} needed", cache.k.dim(1), end);
  cache.k.slice(1, cache.length, end).copy_from(h.k_BSGd);
  cache.v.slice(1, cache.length, end).copy_from(h.v_BSGd);
  cache.length = end;
  const Tensor y_BSHd =
      ops::attend_cached(h.q_BSHd, cache.k, cache.v, end, options_of(config_), sinks_ ? sinks_->value : Tensor{});
  return project_out(y_BSHd, pass);
}

KvCache Attention::make_cache(int64_t sequences, int64_t length, DType dtype) const {
  const Shape shape{sequences, length, num_kv_heads_, config_.head_dim};
  return {Tensor::zeros(shape, dtype, Purpose::buffers), Tensor::zeros(shape, dtype, Purpose::buffers), 0};
}

void Attention::parameters(nn::Parameters& out) {
  for (nn::Linear* linear : {&q_, &k_, &v_}) linear->parameters(out);
  if (q_norm_) q_norm_->parameters(out), k_norm_->parameters(out);
  if (sinks_) out.push_back(&*sinks_);
  out_.parameters(out);
}

}  // namespace switchyard::model
