// One linear layer per expert over rows grouped by expert.     R rows, E experts, N outputs, K inputs
//   y[r] = rows[r] w[e]^T    drows[r] = dy[r] w[e]    dw[e] = sum_r dy[r]^T rows[r], zero for an expert without rows
#include "ops/products.h"
#include "switchyard/autograd/apply.h"
#include "switchyard/ops/linear.h"

#include <algorithm>

namespace switchyard::ops {
namespace {

using kernels::RowProduct;

struct GroupedLinear {
  std::vector<int64_t> offsets;
  Tensor offsets_there;
  Saved rows_RK{}, w_ENK{};

  Tensor forward(const Tensor& rows, const Tensor& w);
  Grads backward(const Tensor& dy) const;
  WeightShape shape() const { return WeightShape::of(w_ENK, w_ENK.dim(0)); }
};

Tensor GroupedLinear::forward(const Tensor& rows, const Tensor& w) {
  check(rows.rank() == 2 && w.rank() >= 3 && rows.dim(1) == w.dim(-1) && rows.dtype() == w.dtype(),
        "grouped_linear: rows {} {}, weight {} {}", shape_text(rows.shape()), name_of(rows.dtype()),
        shape_text(w.shape()), name_of(w.dtype()));
  check(std::ssize(offsets) == w.dim(0) + 1 && offsets.front() == 0 && offsets.back() == rows.dim(0) &&
            std::is_sorted(offsets.begin(), offsets.end()),
        "grouped_linear: {} offsets, ending at {}, for {} experts and {} rows", offsets.size(),
        offsets.empty() ? -1 : offsets.back(), w.dim(0), rows.dim(0));
  rows_RK = rows.contiguous();
  w_ENK = w.contiguous();
  const Tensor y_RN = Tensor::empty({rows.dim(0), shape().N}, rows.dtype());
  multiply(RowProduct::forward, rows_RK, w_ENK, shape(), offsets, y_RN, offsets_there);
  return y_RN;
}

Grads GroupedLinear::backward(const Tensor& dy) const {
  const Tensor dy_RN = dy.contiguous();
  Grads grads(2);
  if (autograd::input_needs_grad(0)) {
    grads[0] = Tensor::empty(rows_RK.shape(), rows_RK.dtype());
    multiply(RowProduct::input_gradient, dy_RN, w_ENK, shape(), offsets, grads[0], offsets_there);
  }
  if (autograd::input_needs_grad(1)) {
    const auto dw = autograd::grad_slot(1, w_ENK.shape(), w_ENK.dtype());
    multiply_for_weight(dy_RN, rows_RK, shape(), offsets, dw.buffer, dw.accumulate, offsets_there);
    grads[1] = dw.result();
  }
  return grads;
}

}  // namespace

Tensor grouped_linear(const Tensor& rows_RK, const Tensor& w_ENK, const std::vector<int64_t>& offsets,
                      const Tensor& offsets_there) {
  return apply(GroupedLinear{.offsets = offsets, .offsets_there = offsets_there}, rows_RK, w_ENK);
}

}  // namespace switchyard::ops
