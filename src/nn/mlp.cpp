// Two products around one activation.
#include "switchyard/nn/mlp.h"

#include "switchyard/ops/linear.h"

namespace switchyard::nn {
namespace {

Parameter bias_of(const Parameter& weight, Shape shape) {
  Parameter bias;
  bias.name = weight.name + "_bias";
  bias.global_shape = std::move(shape);
  bias.decay = false;
  bias.init = {InitKind::zeros, 0};
  return bias;
}

}  // namespace

Mlp::Mlp(const std::string& name, int64_t width, int64_t intermediate, ops::Activation activation, const MlpInit& init,
         bool has_bias)
    : activation_(activation) {
  const bool gated = ops::is_gated(activation);
  in_.name = name + (gated ? ".gate_up" : ".up");
  in_.global_shape = gated ? Shape{2, intermediate, width} : Shape{intermediate, width};
  in_.init = init.in;
  in_.placement.shards = {{.dim = gated ? 1 : 0, .axis = "tp"}};
  down_.name = name + ".down";
  down_.global_shape = {width, intermediate};
  down_.init = init.out;
  down_.placement.shards = {{.dim = 1, .axis = "tp"}};
  if (!has_bias) return;
  in_bias_ = bias_of(in_, gated ? Shape{2, intermediate} : Shape{intermediate});
  in_bias_->placement = in_.placement;
  down_bias_ = bias_of(down_, {width});
}

Tensor Mlp::product(const Tensor& x) const {
  const Tensor h = ops::linear(x, in_.value, in_bias_ ? in_bias_->value : Tensor{});
  return ops::linear(ops::activate(h, activation_), down_.value);
}

Tensor Mlp::add_bias(const Tensor& y) const { return down_bias_ ? ops::add_bias(y, down_bias_->value) : y; }

void Mlp::parameters(std::vector<Parameter*>& out) {
  out.push_back(&in_);
  if (in_bias_) out.push_back(&*in_bias_);
  out.push_back(&down_);
  if (down_bias_) out.push_back(&*down_bias_);
}

}  // namespace switchyard::nn
