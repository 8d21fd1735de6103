// Two grouped products around one activation.
#include "switchyard/moe/experts.h"

#include "switchyard/ops/linear.h"

namespace switchyard::moe {

Experts::Experts(const std::string& name, int64_t num_experts, int64_t width, int64_t intermediate,
                 ops::Activation activation, const nn::Init& in, const nn::Init& out)
    : activation_(activation) {
  const bool gated = ops::is_gated(activation);
  const auto split = [](int64_t intermediate_dim) {
    return nn::Placement{nn::View::expert, {{.dim = 0, .axis = "ep"}, {.dim = intermediate_dim, .axis = "etp"}}};
  };
  in_.name = name + (gated ? ".gate_up" : ".up");
  in_.global_shape = gated ? Shape{num_experts, 2, intermediate, width} : Shape{num_experts, intermediate, width};
  in_.init = in;
  in_.placement = split(gated ? 2 : 1);
  down_.name = name + ".down";
  down_.global_shape = {num_experts, width, intermediate};
  down_.init = out;
  down_.placement = split(2);
}

Tensor Experts::forward(const Tensor& rows_RD, const Tensor& weights_R, const std::vector<int64_t>& offsets,
                        const Tensor& offsets_there) const {
  const Tensor h_RX = ops::grouped_linear(rows_RD, in_.value, offsets, offsets_there);
  return ops::grouped_linear(ops::activate(h_RX, activation_, weights_R), down_.value, offsets, offsets_there);
}

void Experts::parameters(std::vector<nn::Parameter*>& out) {
  out.push_back(&in_);
  out.push_back(&down_);
}

}  // namespace switchyard::moe
