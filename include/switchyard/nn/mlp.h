// The feed-forward network of dense layers and shared experts: activate(x W_gate_up^T + b_gate_up) W_down^T + b_down,
// with or without the biases.
#pragma once

#include "switchyard/nn/parameter.h"
#include "switchyard/ops/activation.h"

#include <optional>
#include <vector>

namespace switchyard::nn {

struct MlpInit {
  Init in;   // gate and up projection
  Init out;  // down projection
};

// D width, F intermediate width. Gated activations hold gate and up in one parameter [2, F, D], others [F, D]; down is
// [D, F]. One product makes gate and up. Biases, never decayed, are [2, F] or [F], and [D]. Split over tensor ranks by
// F; b_down is whole on each.
class Mlp {
 public:
  Mlp(const std::string& name, int64_t width, int64_t intermediate, ops::Activation activation, const MlpInit& init,
      bool has_bias = false);
  // (..., D) -> (..., D), in two steps: on tensor ranks the product is a part of the sum, and the bias is added to the
  // whole.
  Tensor product(const Tensor& x) const;
  Tensor add_bias(const Tensor& y) const;
  void parameters(std::vector<Parameter*>& out);

 private:
  ops::Activation activation_;
  Parameter in_, down_;
  std::optional<Parameter> in_bias_, down_bias_;
};

}  // namespace switchyard::nn
