// The router: which experts each token goes to, and with which weight. T tokens, D width, E experts, K choices per
// token. Logits, scores and weights are f32 (f64 in f64 models) whatever the dtype of x.
#pragma once

#include "switchyard/moe/config.h"
#include "switchyard/nn/parameter.h"
#include "switchyard/ops/router.h"

#include <vector>

namespace switchyard::moe {

struct Routing : ops::Selection {
  Tensor logits_TE;
  Tensor probs_TK;  // weights of the chosen experts
};

class Router {
 public:
  Router(const std::string& name, int64_t width, const MoeConfig& config, const nn::Init& init);
  Routing forward(const Tensor& x_TD) const;
  void parameters(std::vector<nn::Parameter*>& out) { out.push_back(&weight_); }

  // Added to the scores for the selection only; no gradient reaches it. f32, zero at first, the same on every rank,
  // changed between steps (moe/balance.h) and by loading a checkpoint. Undefined without one. Always the host's, where
  // the counts are that change it: a pass takes it to the device.
  Tensor& bias_E() { return bias_E_; }
  const std::string& bias_name() const { return bias_name_; }

 private:
  RouterConfig config_;
  int64_t top_k_;
  nn::Parameter weight_;  // [E, D]
  std::string bias_name_;
  Tensor bias_E_;
};

}  // namespace switchyard::moe
