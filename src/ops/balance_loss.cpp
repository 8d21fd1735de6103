// Load balance loss.                      T tokens, E experts, G groups of `rows` tokens, f frequencies (constants)
//   E / divisor * sum_t sum_e f[group of t, e] P[t, e]
#include "switchyard/autograd/apply.h"
#include "switchyard/ops/router.h"
#include "switchyard/tensor/kernel_args.h"

namespace switchyard::ops {
namespace {

struct BalanceLoss {
  int64_t rows;
  double divisor;
  Score score;
  Saved logits_TE{}, frequencies_GE{};

  kernels::BalanceLossArgs args(const Tensor& loss, const Tensor& scratch) const;
  Tensor forward(const Tensor& logits, const Tensor& frequencies);
  Grads backward(const Tensor& dloss) const;
};

kernels::BalanceLossArgs BalanceLoss::args(const Tensor& loss, const Tensor& scratch) const {
  return {.logits = logits_TE.raw(),
          .frequencies = frequencies_GE.raw(),
          .loss = raw_or_null(loss),
          .scratch = scratch.defined() ? scratch.data<double>() : nullptr,
          .T = logits_TE.dim(0),
          .E = logits_TE.dim(1),
          .rows = rows,
          .score = score,
          .factor = static_cast<double>(logits_TE.dim(1)) / divisor,
          .dtype = logits_TE.dtype()};
}

Tensor BalanceLoss::forward(const Tensor& logits, const Tensor& frequencies) {
  check(logits.rank() == 2 && logits.dtype() != DType::bf16 && frequencies.dtype() == logits.dtype(),
        "balance_loss: logits {} {}, frequencies {}", shape_text(logits.shape()), name_of(logits.dtype()),
        name_of(frequencies.dtype()));
  check(rows >= 1 && divisor > 0 && frequencies.rank() == 2 && frequencies.dim(1) == logits.dim(1) &&
            frequencies.dim(0) * rows >= logits.dim(0),
        "balance_loss: frequencies {} for logits {} in groups of {}, divisor {}", shape_text(frequencies.shape()),
        shape_text(logits.shape()), rows, divisor);
  logits_TE = logits.contiguous();
  frequencies_GE = frequencies.contiguous();
  Tensor loss = Tensor::empty({1}, logits.dtype());
  on_device(logits, [&](auto exec) {
    const Tensor scratch =
        Tensor::empty({kernels::router_loss_scratch_bytes(exec, logits.dim(0)) / 8}, DType::f64, Purpose::buffers);
    kernels::balance_loss(exec, args(loss, scratch));
  });
  return loss;
}

Grads BalanceLoss::backward(const Tensor& arriving) const {
  const Tensor dloss = arriving.to(logits_TE.device());
  Tensor dlogits_TE = Tensor::empty(logits_TE.shape(), logits_TE.dtype());
  on_device(dloss,
            [&](auto exec) { kernels::balance_loss_backward(exec, args({}, {}), dloss.raw(), dlogits_TE.raw()); });
  return {dlogits_TE};
}

}  // namespace

Tensor balance_loss(const Tensor& logits_TE, const Tensor& frequencies_GE, int64_t rows, double divisor, Score score) {
  return apply(BalanceLoss{.rows = rows, .divisor = divisor, .score = score}, logits_TE, frequencies_GE.detach());
}

}  // namespace switchyard::ops
