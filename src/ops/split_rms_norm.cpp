// RMS norm of rows that are split over ranks, as two ops: what is added up over ranks lies between them.
//   T rows, D columns here
#include "kernels/split_norm.h"
#include "ops/bias_gradient.h"
#include "switchyard/autograd/apply.h"
#include "switchyard/ops/norm.h"

namespace switchyard::ops {
namespace {

struct RowSquares {
  double factor;
  Saved x_TD{};

  Tensor forward(const Tensor& x) {
    x_TD = x.contiguous();
    Tensor squares_T1 = Tensor::empty({x.rows(), 1}, accumulate_type(x.dtype()));
    on_device(x, [&](auto exec) {
      kernels::row_squares(exec, {x_TD.raw(), squares_T1.raw(), x.rows(), x.dim(-1), factor, x.dtype()});
    });
    return squares_T1;
  }
  Grads backward(const Tensor& dsquares) const {
    const Tensor ds_T1 = dsquares.contiguous();
    Tensor dx_TD = Tensor::empty(x_TD.shape(), x_TD.dtype());
    on_device(x_TD, [&](auto exec) {
      kernels::row_squares_backward(
          exec, {ds_T1.raw(), x_TD.raw(), dx_TD.raw(), x_TD.rows(), x_TD.dim(-1), factor, x_TD.dtype()});
    });
    return {dx_TD};
  }
};

struct NormalizeRows {
  int64_t width;
  double eps;
  Saved x_TD{}, squares_T1{}, w_D{};

  Tensor forward(const Tensor& x, const Tensor& squares, const Tensor& w);
  Grads backward(const Tensor& dy) const;
};

Tensor NormalizeRows::forward(const Tensor& x, const Tensor& squares, const Tensor& w) {
  check(w.numel() == x.dim(-1) && squares.numel() == x.rows() && w.dtype() == x.dtype() &&
            squares.dtype() == accumulate_type(x.dtype()),
        "normalize_rows: {} {}, sums {} {}, weight {} {}", shape_text(x.shape()), name_of(x.dtype()),
        shape_text(squares.shape()), name_of(squares.dtype()), shape_text(w.shape()), name_of(w.dtype()));
  x_TD = x.contiguous(), squares_T1 = squares.contiguous(), w_D = w.contiguous();
  Tensor y_TD = Tensor::empty(x.shape(), x.dtype());
  on_device(x, [&](auto exec) {
    kernels::normalize_rows(exec, {.x = x_TD.raw(),
                                   .squares = squares_T1.raw(),
                                   .w = w_D.raw(),
                                   .y = y_TD.raw(),
                                   .T = x.rows(),
                                   .D = x.dim(-1),
                                   .width = width,
                                   .eps = eps,
                                   .dtype = x.dtype()});
  });
  return y_TD;
}

Grads NormalizeRows::backward(const Tensor& dy) const {
  const Tensor dy_TD = dy.contiguous();
  const int64_t T = x_TD.rows(), D = x_TD.dim(-1);
  Tensor dx_TD = Tensor::empty(x_TD.shape(), x_TD.dtype());
  Tensor dsquares_T1 = Tensor::empty(squares_T1.shape(), squares_T1.dtype());
  const Tensor terms_TD = Tensor::empty({T, D}, squares_T1.dtype(), Purpose::buffers);
  on_device(x_TD, [&](auto exec) {
    kernels::normalize_rows_backward(exec, {.dy = dy_TD.raw(),
                                            .x = x_TD.raw(),
                                            .squares = squares_T1.raw(),
                                            .w = w_D.raw(),
                                            .dx = dx_TD.raw(),
                                            .dsquares = dsquares_T1.raw(),
                                            .dw_terms = terms_TD.raw(),
                                            .T = T,
                                            .D = D,
                                            .width = width,
                                            .eps = eps,
                                            .dtype = x_TD.dtype()});
  });
  const auto dw = autograd::grad_slot(2, w_D.shape(), w_D.dtype());
  if (dw.buffer.defined()) bias_gradient(terms_TD, dw);
  return {dx_TD, dsquares_T1, dw.result()};
}

}  // namespace

Tensor row_squares(const Tensor& x_TD, double factor) { return apply(RowSquares{.factor = factor}, x_TD); }

Tensor normalize_rows(const Tensor& x_TD, const Tensor& squares_T1, const Tensor& w_D, int64_t width, double eps) {
  return apply(NormalizeRows{.width = width, .eps = eps}, x_TD, squares_T1, w_D);
}

}  // namespace switchyard::ops
