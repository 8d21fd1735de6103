// Activation with gate and row weight in one pass; backward recomputes it from h.      T tokens, F width of the output
//   y[t] = r[t] * act(gate[t]) * up[t]      h[t] = gate[t] | up[t]
#include "switchyard/ops/activation.h"

#include "switchyard/autograd/apply.h"
#include "switchyard/tensor/kernel_args.h"

namespace switchyard::ops {
namespace {

struct Activate {
  Activation kind;
  Saved h_TX{}, row_weight_T{};

  Tensor forward(const Tensor& h, const Tensor& row_weight);
  Grads backward(const Tensor& dy) const;
};

Tensor Activate::forward(const Tensor& h, const Tensor& row_weight) {
  const int64_t T = h.rows(), width = h.dim(-1), F = is_gated(kind) ? width / 2 : width;
  check(!is_gated(kind) || width % 2 == 0, "activate: {} of odd width {}", name_of(kind), width);
  h_TX = h.contiguous();
  if (row_weight.defined()) {
    check(row_weight.numel() == T && row_weight.dtype() == accumulate_type(h.dtype()),
          "activate: row weight {} {} for {} rows of {}", shape_text(row_weight.shape()), name_of(row_weight.dtype()),
          T, name_of(h.dtype()));
    row_weight_T = row_weight.contiguous();
  }
  Shape shape = h.shape();
  shape.back() = F;
  Tensor y_TF = Tensor::empty(shape, h.dtype());
  on_device(h, [&](auto exec) {
    kernels::activation(exec, {.h = h_TX.raw(),
                               .row_weight = raw_or_null(row_weight_T),
                               .y = y_TF.raw(),
                               .T = T,
                               .F = F,
                               .kind = kind,
                               .dtype = h.dtype()});
  });
  return y_TF;
}

Grads Activate::backward(const Tensor& dy) const {
  const Tensor dy_TF = dy.contiguous();
  Tensor dh_TX, drow_weight_T;
  if (autograd::input_needs_grad(0)) dh_TX = Tensor::empty(h_TX.shape(), h_TX.dtype());
  if (autograd::input_needs_grad(1)) drow_weight_T = Tensor::zeros(row_weight_T.shape(), row_weight_T.dtype());
  on_device(h_TX, [&](auto exec) {
    kernels::activation_backward(exec, {.dy = dy_TF.raw(),
                                        .h = h_TX.raw(),
                                        .row_weight = raw_or_null(row_weight_T),
                                        .dh = raw_or_null(dh_TX),
                                        .drow_weight = raw_or_null(drow_weight_T),
                                        .T = dy_TF.rows(),
                                        .F = dy_TF.dim(-1),
                                        .kind = kind,
                                        .dtype = h_TX.dtype()});
  });
  return {dh_TX, drow_weight_T};
}

}  // namespace

Tensor activate(const Tensor& h_TX, Activation kind, const Tensor& row_weight_T) {
  return apply(Activate{.kind = kind}, h_TX, row_weight_T);
}

}  // namespace switchyard::ops
