// Layer normalisation.                             T tokens, D width of the weight
//   y[t] = (x[t] - mean[t]) * rstd[t] * w + b      rstd[t] = 1 / sqrt(var(x[t]) + eps)
#include "kernels/norm.h"
#include "ops/norm_rows.h"
#include "switchyard/autograd/apply.h"
#include "switchyard/ops/norm.h"

namespace switchyard::ops {
namespace {

struct LayerNorm {
  double eps;
  Saved x_TD{}, w_D{}, mean_T{}, rstd_T{};

  Tensor forward(const Tensor& x, const Tensor& w, const Tensor& b);
  Grads backward(const Tensor& dy) const;
};

Tensor LayerNorm::forward(const Tensor& x, const Tensor& w, const Tensor& b) {
  const int64_t T = norm_rows("layer_norm", x, w), D = w.numel();
  check(b.shape() == w.shape() && b.dtype() == w.dtype(), "layer_norm: bias {} {} for weight {} {}",
        shape_text(b.shape()), name_of(b.dtype()), shape_text(w.shape()), name_of(w.dtype()));
  x_TD = x.contiguous();
  w_D = w.contiguous();
  const Tensor b_D = b.contiguous();
  mean_T = Tensor::empty({T}, accumulate_type(x.dtype()));
  rstd_T = Tensor::empty({T}, accumulate_type(x.dtype()));
  Tensor y_TD = Tensor::empty(x.shape(), x.dtype());
  on_device(x, [&](auto exec) {
    kernels::layer_norm(exec, {.x = x_TD.raw(),
                               .w = w_D.raw(),
                               .b = b_D.raw(),
                               .y = y_TD.raw(),
                               .mean = mean_T.raw(),
                               .rstd = rstd_T.raw(),
                               .T = T,
                               .D = D,
                               .eps = eps,
                               .dtype = x.dtype()});
  });
  return y_TD;
}

Grads LayerNorm::backward(const Tensor& dy) const {
  const Tensor dy_TD = dy.contiguous();
  Tensor dx_TD = autograd::input_needs_grad(0) ? Tensor::empty(x_TD.shape(), x_TD.dtype()) : Tensor{};
  const auto dw = autograd::grad_slot(1, w_D.shape(), w_D.dtype());
  const auto db = autograd::grad_slot(2, w_D.shape(), w_D.dtype());
  kernels::NormBackwardArgs args{.dy = dy_TD.raw(),
                                 .x = x_TD.raw(),
                                 .w = w_D.raw(),
                                 .mean = mean_T.raw(),
                                 .rstd = rstd_T.raw(),
                                 .dx = raw_or_null(dx_TD),
                                 .dw = raw_or_null(dw.buffer),
                                 .db = raw_or_null(db.buffer),
                                 .scratch = nullptr,
                                 .T = rstd_T.numel(),
                                 .D = w_D.numel(),
                                 .accumulate_dw = dw.accumulate,
                                 .accumulate_db = db.accumulate,
                                 .dtype = x_TD.dtype()};
  on_device(x_TD, [&](auto exec) {
    const Tensor scratch = scratch_of(kernels::norm_backward_scratch_bytes(exec, args));
    args.scratch = scratch.raw();
    kernels::layer_norm_backward(exec, args);
  });
  return {dx_TD, dw.result(), db.result()};
}

}  // namespace

Tensor layer_norm(const Tensor& x_TD, const Tensor& w_D, const Tensor& b_D, double eps) {
  return apply(LayerNorm{.eps = eps}, x_TD, w_D, b_D);
}

}  // namespace switchyard::ops
