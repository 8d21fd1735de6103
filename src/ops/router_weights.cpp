// Row weights of the chosen experts.      T tokens, E experts, K choices
//   w[t, i] = scale * s_e / sum           e = ids[t, i], s = softmax or sigmoid of the logits
// The four rules and their gradients stand in kernels/cpu/router_weights.cpp.
#include "switchyard/autograd/apply.h"
#include "switchyard/ops/router.h"

namespace switchyard::ops {
namespace {

struct RouterWeights {
  WeightRule rule;
  Saved logits_TE{}, ids_TK{}, weights_TK{};

  kernels::RouterWeightsArgs args() const;
  Tensor forward(const Tensor& logits, const Tensor& ids);
  Grads backward(const Tensor& dw) const;
};

kernels::RouterWeightsArgs RouterWeights::args() const {
  return {.logits = logits_TE.raw(),
          .ids = ids_TK.data<int32_t>(),
          .weights = weights_TK.raw(),
          .T = ids_TK.dim(0),
          .E = logits_TE.dim(1),
          .K = ids_TK.dim(1),
          .score = rule.score,
          .normalize = rule.normalize,
          .scale = rule.scale,
          .dtype = logits_TE.dtype()};
}

Tensor RouterWeights::forward(const Tensor& logits, const Tensor& ids) {
  check(logits.rank() == 2 && ids.rank() == 2 && logits.dim(0) == ids.dim(0) && logits.dtype() != DType::bf16,
        "router_weights: logits {} {}, ids {}", shape_text(logits.shape()), name_of(logits.dtype()),
        shape_text(ids.shape()));
  logits_TE = logits.contiguous();
  ids_TK = ids.contiguous();
  weights_TK = Tensor::empty(ids.shape(), logits.dtype());
  on_device(logits, [&](auto exec) { kernels::router_weights(exec, args()); });
  return weights_TK;
}

Grads RouterWeights::backward(const Tensor& dw) const {
  const Tensor dw_TK = dw.contiguous();
  Tensor dlogits_TE = Tensor::empty(logits_TE.shape(), logits_TE.dtype());
  on_device(dw, [&](auto exec) {
    kernels::router_weights_backward(exec, {.forward = args(), .dweights = dw_TK.raw(), .dlogits = dlogits_TE.raw()});
  });
  return {dlogits_TE};
}

}  // namespace

Tensor router_weights(const Tensor& logits_TE, const Tensor& ids_TK, const WeightRule& rule) {
  return apply(RouterWeights{.rule = rule}, logits_TE, ids_TK);
}

}  // namespace switchyard::ops
