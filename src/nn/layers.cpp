// Each layer names its parameters and calls its op.
#include "switchyard/nn/layers.h"

#include "switchyard/ops/embedding.h"
#include "switchyard/ops/linear.h"
#include "switchyard/ops/norm.h"

namespace switchyard::nn {
namespace {

Parameter make_parameter(const std::string& name, Shape shape, bool decay, Init init) {
  Parameter parameter;
  parameter.name = name;
  parameter.global_shape = std::move(shape);
  parameter.decay = decay;
  parameter.init = init;
  return parameter;
}

}  // namespace

Linear::Linear(const std::string& name, int64_t out, int64_t in, const Init& init, const LinearOptions& options)
    : weight_(make_parameter(name + ".weight", {out, in}, true, init)) {
  if (options.has_bias) bias_ = make_parameter(name + ".bias", {out}, false, {InitKind::zeros, 0});
  if (options.split == Split::inputs) weight_.placement.shards = {{.dim = 1, .axis = "tp"}};
  if (options.split != Split::outputs) return;
  weight_.placement.shards = {{.dim = 0, .axis = "tp", .max_parts = options.max_parts}};
  if (bias_) bias_->placement = weight_.placement;
}

Tensor Linear::operator()(const Tensor& x) const {
  return ops::linear(x, weight_.value, bias_ ? bias_->value : Tensor{});
}

Tensor Linear::product(const Tensor& x) const { return ops::linear(x, weight_.value); }

Tensor Linear::add_bias(const Tensor& y) const { return bias_ ? ops::add_bias(y, bias_->value) : y; }

void Linear::parameters(Parameters& out) {
  out.push_back(&weight_);
  if (bias_) out.push_back(&*bias_);
}

Norm::Norm(const std::string& name, NormKind kind, int64_t dim, double eps, const Placement& placement)
    : kind_(kind), eps_(eps), weight_(make_parameter(name + ".weight", {dim}, false, {InitKind::ones, 0})) {
  weight_.placement = placement;
  if (kind == NormKind::layer) bias_ = make_parameter(name + ".bias", {dim}, false, {InitKind::zeros, 0});
}

Tensor Norm::operator()(const Tensor& x) const {
  return kind_ == NormKind::rms ? ops::rms_norm(x, weight_.value, eps_)
                                : ops::layer_norm(x, weight_.value, bias_->value, eps_);
}

void Norm::parameters(Parameters& out) {
  out.push_back(&weight_);
  if (bias_) out.push_back(&*bias_);
}

Embedding::Embedding(const std::string& name, int64_t vocabulary, int64_t dim, double init_std)
    : weight_(make_parameter(name + ".weight", {vocabulary, dim}, true, {InitKind::normal, init_std})) {
  weight_.placement = split_vocabulary();
}

Tensor Embedding::operator()(const Tensor& ids, const ops::VocabularyPart& part) const {
  return ops::embedding(ids, weight_.value, part);
}

Placement split_vocabulary() { return {View::dense, {{.dim = 0, .axis = "tp", .is_uneven = true}}}; }

}  // namespace switchyard::nn
