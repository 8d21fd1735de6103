// Dense linear layers.     T tokens, N outputs, K inputs
//   y = x w^T + b    dx = dy w    dw = dy^T x    db = sum_t dy[t]
#include "switchyard/ops/linear.h"

#include "kernels/bias.h"
#include "ops/bias_gradient.h"
#include "ops/products.h"
#include "switchyard/autograd/apply.h"

namespace switchyard::ops {
namespace {

using kernels::RowProduct;

Shape with_last(Shape shape, int64_t last) {
  shape.back() = last;
  return shape;
}

void check_shapes(std::string_view op, const Tensor& x, const Tensor& w, const Tensor& b) {
  check(x.rank() >= 1 && w.rank() >= 2 && x.dim(-1) == w.dim(-1), "{}: input {}, weight {}", op, shape_text(x.shape()),
        shape_text(w.shape()));
  check(!b.defined() || (b.numel() == w.rows() && b.dtype() == x.dtype()), "{}: bias {} {} for {} outputs in {}", op,
        shape_text(b.shape()), name_of(b.dtype()), w.rows(), name_of(x.dtype()));
}

struct AddBias {
  Shape b_shape{};
  Tensor forward(const Tensor& x, const Tensor& b) {
    check(b.numel() == x.dim(-1) && b.dtype() == x.dtype(), "add_bias: {} {} to {} {}", shape_text(b.shape()),
          name_of(b.dtype()), shape_text(x.shape()), name_of(x.dtype()));
    b_shape = b.shape();
    const Tensor y_TN = x.clone(), b_N = b.contiguous();
    const kernels::AddBiasArgs args{.y = y_TN.raw(), .b = b_N.raw(), .R = x.rows(), .N = x.dim(-1), .dtype = x.dtype()};
    on_device(x, [&](auto exec) { kernels::add_bias(exec, args); });
    return y_TN;
  }
  Grads backward(const Tensor& dy) const {
    const auto db = autograd::grad_slot(1, b_shape, dy.dtype());
    if (db.buffer.defined()) bias_gradient(dy.contiguous(), db);
    return {dy, db.result()};
  }
};

struct Linear {
  Saved x_TK{}, w_NK{};
  Shape b_shape{};  // empty: no bias

  Tensor forward(const Tensor& x, const Tensor& w, const Tensor& b);
  Grads backward(const Tensor& dy) const;
};

Tensor Linear::forward(const Tensor& x, const Tensor& w, const Tensor& b) {
  check_shapes("linear", x, w, b);
  check(x.dtype() == w.dtype(), "linear: input {}, weight {}", name_of(x.dtype()), name_of(w.dtype()));
  x_TK = x.contiguous();
  w_NK = w.contiguous();
  if (b.defined()) b_shape = b.shape();
  const auto shape = WeightShape::of(w, 1);
  const Tensor y_TN = Tensor::empty(with_last(x.shape(), shape.N), x.dtype());
  multiply(RowProduct::forward, x_TK, w_NK, shape, {0, x.rows()}, y_TN);
  if (b.defined()) {
    const Tensor b_N = b.contiguous();
    const kernels::AddBiasArgs args{.y = y_TN.raw(), .b = b_N.raw(), .R = x.rows(), .N = shape.N, .dtype = x.dtype()};
    on_device(x, [&](auto exec) { kernels::add_bias(exec, args); });
  }
  return y_TN;
}

Grads Linear::backward(const Tensor& dy) const {
  const auto shape = WeightShape::of(w_NK, 1);
  const std::vector<int64_t> offsets{0, x_TK.rows()};
  const Tensor dy_TN = dy.contiguous();
  Grads grads(3);
  if (autograd::input_needs_grad(0)) {
    grads[0] = Tensor::empty(x_TK.shape(), x_TK.dtype());
    multiply(RowProduct::input_gradient, dy_TN, w_NK, shape, offsets, grads[0]);
  }
  if (autograd::input_needs_grad(1)) {
    const auto dw = autograd::grad_slot(1, w_NK.shape(), w_NK.dtype());
    multiply_for_weight(dy_TN, x_TK, shape, offsets, dw.buffer, dw.accumulate);
    grads[1] = dw.result();
  }
  if (!b_shape.empty() && autograd::input_needs_grad(2)) {
    const auto db = autograd::grad_slot(2, b_shape, dy_TN.dtype());
    bias_gradient(dy_TN, db);
    grads[2] = db.result();
  }
  return grads;
}

// Operands of one dtype are multiplied as they are, others as f32 copies. Gradients are f32 and rounded at the end.
struct LinearF32 {
  Saved x_TK{}, w_NK{};

  Tensor forward(const Tensor& x, const Tensor& w);
  Grads backward(const Tensor& dy) const;
  DType sums() const { return x_TK.dtype() == DType::f64 || w_NK.dtype() == DType::f64 ? DType::f64 : DType::f32; }
};

Tensor LinearF32::forward(const Tensor& x, const Tensor& w) {
  check_shapes("linear_f32", x, w, {});
  x_TK = x.contiguous();
  w_NK = w.contiguous();
  const auto shape = WeightShape::of(w, 1);
  const DType operands = x.dtype() == w.dtype() ? x.dtype() : sums();
  const Tensor y_TN = Tensor::empty(with_last(x.shape(), shape.N), sums());
  multiply(RowProduct::forward, x_TK.to(operands), w_NK.to(operands), shape, {0, x.rows()}, y_TN);
  return y_TN;
}

Grads LinearF32::backward(const Tensor& dy) const {
  const auto shape = WeightShape::of(w_NK, 1);
  const std::vector<int64_t> offsets{0, x_TK.rows()};
  const Tensor dy_TN = dy.contiguous();
  Grads grads(2);
  if (autograd::input_needs_grad(0)) {
    const Tensor dx_TK = Tensor::empty(x_TK.shape(), sums());
    multiply(RowProduct::input_gradient, dy_TN, w_NK.to(sums()), shape, offsets, dx_TK);
    grads[0] = dx_TK.to(x_TK.dtype());
  }
  if (autograd::input_needs_grad(1)) {
    const auto dw = autograd::grad_slot(1, w_NK.shape(), w_NK.dtype());
    const DType operands = dw.buffer.dtype();
    multiply_for_weight(dy_TN.to(operands), x_TK.to(operands), shape, offsets, dw.buffer, dw.accumulate);
    grads[1] = dw.result();
  }
  return grads;
}

}  // namespace

Tensor linear(const Tensor& x_TK, const Tensor& w_NK, const Tensor& b_N) { return apply(Linear{}, x_TK, w_NK, b_N); }

Tensor linear_f32(const Tensor& x_TK, const Tensor& w_NK) { return apply(LinearF32{}, x_TK, w_NK); }

Tensor add_bias(const Tensor& x_TN, const Tensor& b_N) { return apply(AddBias{}, x_TN, b_N); }

}  // namespace switchyard::ops
