// The router: which experts each token goes to, and with which weight. T tokens, D width, E experts, K choices per
// token. Logits, scores and weights are f32 (f64 in f64 models) whatever the dtype of x.
#pragma once

#include "switchyard/moe/config.h"
#include "switchyard/nn/parameter.h"

#include <vector>

namespace switchyard::moe {

struct Routing {
  Tensor logits_TE;
  Tensor ids_TK;      // i32, ascending in each row
  Tensor probs_TK;    // weights of the chosen experts
  Tensor counts_E;    // i64, tokens per expert
  Tensor margins_T;   // f64, gap between the last chosen and the first rejected expert
  double min_margin;  // the smallest of them
  int64_t bad_rows;   // tokens whose logits are not finite
};

class Router {
 public:
  Router(const std::string& name, int64_t width, const MoeConfig& config, const nn::Init& init);
  Routing forward(const Tensor& x_TD) const;
  void parameters(std::vector<nn::Parameter*>& out) { out.push_back(&weight_); }

  // Added to the scores for the selection only; no gradient reaches it. f32, zero at first, the same on every rank,
  // changed between steps (moe/balance.h) and by loading a checkpoint. Undefined without one.
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
