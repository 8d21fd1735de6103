// Root-mean-square normalisation.      T tokens, D width of the weight
//   y[t] = x[t] * rstd[t] * w          rstd[t] = 1 / sqrt(mean(x[t]^2) + eps)
#include "kernels/norm.h"
#include "ops/norm_rows.h"
#include "switchyard/autograd/apply.h"
#include "switchyard/ops/norm.h"

namespace switchyard::ops {
namespace {

struct RmsNorm {
  double eps;
  Saved x_TD{}, w_D{}, rstd_T{};

  Tensor forward(const Tensor& x, const Tensor& w);
  Grads backward(const Tensor& dy) const;
};

Tensor RmsNorm::forward(const Tensor& x, const Tensor& w) {
  const int64_t T = norm_rows("rms_norm", x, w), D = w.numel();
  x_TD = x.contiguous();
  w_D = w.contiguous();
  rstd_T = Tensor::empty({T}, accumulate_type(x.dtype()));
  Tensor y_TD = Tensor::empty(x.shape(), x.dtype());
  on_device(x, [&](auto exec) {
    kernels::rms_norm(exec, {.x = x_TD.raw(),
                             .w = w_D.raw(),
                             .b = nullptr,
                             .y = y_TD.raw(),
                             .mean = nullptr,
                             .rstd = rstd_T.raw(),
                             .T = T,
                             .D = D,
                             .eps = eps,
                             .dtype = x.dtype()});
  });
  return y_TD;
}

Grads RmsNorm::backward(const Tensor& dy) const {
  const Tensor dy_TD = dy.contiguous();
  Tensor dx_TD = autograd::input_needs_grad(0) ? Tensor::empty(x_TD.shape(), x_TD.dtype()) : Tensor{};
  const auto dw = autograd::grad_slot(1, w_D.shape(), w_D.dtype());
  kernels::NormBackwardArgs args{.dy = dy_TD.raw(),
                                 .x = x_TD.raw(),
                                 .w = w_D.raw(),
                                 .mean = nullptr,
                                 .rstd = rstd_T.raw(),
                                 .dx = raw_or_null(dx_TD),
                                 .dw = raw_or_null(dw.buffer),
                                 .db = nullptr,
                                 .scratch = nullptr,
                                 .T = rstd_T.numel(),
                                 .D = w_D.numel(),
                                 .accumulate_dw = dw.accumulate,
                                 .accumulate_db = false,
                                 .dtype = x_TD.dtype()};
  on_device(x_TD, [&](auto exec) {
    const Tensor scratch = scratch_of(kernels::norm_backward_scratch_bytes(exec, args));
    args.scratch = scratch.raw();
    kernels::rms_norm_backward(exec, args);
  });
  return {dx_TD, dw.result()};
}

}  // namespace

Tensor rms_norm(const Tensor& x_TD, const Tensor& w_D, double eps) { return apply(RmsNorm{.eps = eps}, x_TD, w_D); }

}  // namespace switchyard::ops
