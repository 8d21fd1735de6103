// The routed experts of a layer that this rank holds: FFNs over rows grouped by expert.
//   e experts here of E in all, R rows, D width, F intermediate width
// Ranks that share an expert hold some of its F columns each; what one returns is then its part of the sum.
#pragma once

#include "switchyard/nn/parameter.h"
#include "switchyard/ops/activation.h"

namespace switchyard::moe {

class Experts {
 public:
  Experts(const std::string& name, int64_t num_experts, int64_t width, int64_t intermediate, ops::Activation activation,
          const nn::Init& in, const nn::Init& out);
  // Rows times their weight: the weight multiplies the hidden activation, so that its gradient needs no stored output.
  Tensor forward(const Tensor& rows_RD, const Tensor& weights_R, const std::vector<int64_t>& offsets,
                 const Tensor& offsets_there) const;
  void parameters(std::vector<nn::Parameter*>& out);

 private:
  ops::Activation activation_;
  nn::Parameter in_;    // gate_up [E, 2, F, D] for gated activations, up [E, F, D] for others
  nn::Parameter down_;  // [E, D, F]
};

}  // namespace switchyard::moe
