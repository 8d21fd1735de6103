// Two products around one activation.
#include "switchyard/nn/mlp.h"

#include "switchyard/ops/linear.h"

namespace switchyard::nn {

Mlp::Mlp(const std::string& name, int64_t width, int64_t intermediate, ops::Activation activation, const MlpInit& init)
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
}

Tensor Mlp::operator()(const Tensor& x) const {
  return ops::linear(ops::activate(ops::linear(x, in_.value), activation_), down_.value);
}

void Mlp::parameters(std::vector<Parameter*>& out) {
  out.push_back(&in_);
  out.push_back(&down_);
}

}  // namespace switchyard::nn
