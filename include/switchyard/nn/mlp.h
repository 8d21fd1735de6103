// The feed-forward network of dense layers and shared experts: activate(x W_gate_up^T) W_down^T.
#pragma once

#include "switchyard/nn/parameter.h"
#include "switchyard/ops/activation.h"

#include <vector>

namespace switchyard::nn {

struct MlpInit {
  Init in;   // gate and up projection
  Init out;  // down projection
};

// D width, F intermediate width. Gated activations hold gate and up in one parameter [2, F, D], others [F, D]; down is
// [D, F]. One product makes gate and up. Split over tensor ranks by F: what a rank returns is then its part of the sum.
class Mlp {
 public:
  Mlp(const std::string& name, int64_t width, int64_t intermediate, ops::Activation activation, const MlpInit& init);
  Tensor operator()(const Tensor& x) const;  // (..., D) -> (..., D)
  void parameters(std::vector<Parameter*>& out);

 private:
  ops::Activation activation_;
  Parameter in_, down_;
};

}  // namespace switchyard::nn
