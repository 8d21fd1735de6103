// Router z-loss.                          T tokens, E experts
//   1 / divisor * sum_t (log sum_e exp z[t, e])^2
#include "switchyard/autograd/apply.h"
#include "switchyard/ops/router.h"
#include "switchyard/tensor/kernel_args.h"

namespace switchyard::ops {
namespace {

struct ZLoss {
  double divisor;
  Saved logits_TE{};

  kernels::ZLossArgs args(const Tensor& loss, const Tensor& scratch) const {
    return {.logits = logits_TE.raw(),
            .loss = raw_or_null(loss),
            .scratch = scratch.defined() ? scratch.data<double>() : nullptr,
            .T = logits_TE.dim(0),
            .E = logits_TE.dim(1),
            .factor = 1 / divisor,
            .dtype = logits_TE.dtype()};
  }
  Tensor forward(const Tensor& logits) {
    check(logits.rank() == 2 && logits.dtype() != DType::bf16 && divisor > 0, "z_loss: logits {} {}, divisor {}",
          shape_text(logits.shape()), name_of(logits.dtype()), divisor);
    logits_TE = logits.contiguous();
    Tensor loss = Tensor::empty({1}, logits.dtype());
    on_device(logits, [&](auto exec) {
      const Tensor scratch =
          Tensor::empty({kernels::router_loss_scratch_bytes(exec, logits.dim(0)) / 8}, DType::f64, Purpose::buffers);
      kernels::z_loss(exec, args(loss, scratch));
    });
    return loss;
  }
  Grads backward(const Tensor& arriving) const {
    const Tensor dloss = arriving.to(logits_TE.device());
    Tensor dlogits_TE = Tensor::empty(logits_TE.shape(), logits_TE.dtype());
    on_device(dloss, [&](auto exec) { kernels::z_loss_backward(exec, args({}, {}), dloss.raw(), dlogits_TE.raw()); });
    return {dlogits_TE};
  }
};

}  // namespace

Tensor z_loss(const Tensor& logits_TE, double divisor) { return apply(ZLoss{.divisor = divisor}, logits_TE); }

}  // namespace switchyard::ops
