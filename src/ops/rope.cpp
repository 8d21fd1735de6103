// Rotary position embedding. A rotation's gradient is the rotation back, times the same factor, so nothing but
// the table is kept.
#include "switchyard/ops/rope.h"

#include "kernels/rope.h"
#include "ops/heads.h"
#include "switchyard/autograd/apply.h"

#include <cmath>

namespace switchyard::ops {
namespace {

Tensor rotate(const Tensor& x, const Tensor& cos_SJ, const Tensor& sin_SJ, bool is_inverse) {
  const Tensor x_BSHd = with_adjacent_elements(x);
  Tensor y_BSHd = Tensor::empty(x.shape(), x.dtype());
  on_device(x, [&](auto exec) {
    kernels::rope(exec, {.x = x_BSHd.raw(),
                         .x_batch = x_BSHd.strides()[0],
                         .x_position = x_BSHd.strides()[1],
                         .x_head = x_BSHd.strides()[2],
                         .y = y_BSHd.raw(),
                         .cos = cos_SJ.raw(),
                         .sin = sin_SJ.raw(),
                         .B = x.dim(0),
                         .S = x.dim(1),
                         .H = x.dim(2),
                         .D = x.dim(3),
                         .R = 2 * cos_SJ.dim(1),
                         .is_inverse = is_inverse,
                         .dtype = x.dtype()});
  });
  return y_BSHd;
}

struct Rope {
  Saved cos_SJ, sin_SJ;

  Tensor forward(const Tensor& x_BSHd) { return rotate(x_BSHd, cos_SJ, sin_SJ, false); }
  Grads backward(const Tensor& dy_BSHd) const { return {rotate(dy_BSHd, cos_SJ, sin_SJ, true)}; }
};

}  // namespace

RopeTable::RopeTable(const std::vector<double>& radians_J, double factor, int64_t head_dim_, int64_t max_position,
                     DType dtype)
    : head_dim(head_dim_), rotary_dim(2 * static_cast<int64_t>(radians_J.size())) {
  check(rotary_dim > 0 && rotary_dim <= head_dim, "rope: {} of {} dims", rotary_dim, head_dim);
  const int64_t J = rotary_dim / 2;
  std::vector<double> cos, sin;
  cos.reserve(static_cast<size_t>(max_position * J));
  sin.reserve(static_cast<size_t>(max_position * J));
  for (int64_t position = 0; position < max_position; ++position)
    for (const double radians : radians_J) {
      cos.push_back(factor * std::cos(static_cast<double>(position) * radians));
      sin.push_back(factor * std::sin(static_cast<double>(position) * radians));
    }
  cos_PJ = Tensor::of(cos, {max_position, J}).to(accumulate_type(dtype)).clone(Purpose::buffers);
  sin_PJ = Tensor::of(sin, {max_position, J}).to(accumulate_type(dtype)).clone(Purpose::buffers);
}

Tensor rope(const Tensor& x_BSHd, const RopeTable& table, int64_t first_position) {
  check(x_BSHd.rank() == 4 && x_BSHd.dim(3) == table.head_dim, "rope: input {} for heads of {}",
        shape_text(x_BSHd.shape()), table.head_dim);
  check(accumulate_type(x_BSHd.dtype()) == table.cos_PJ.dtype(), "rope: input is {}, the table {}",
        name_of(x_BSHd.dtype()), name_of(table.cos_PJ.dtype()));
  const int64_t end = first_position + x_BSHd.dim(1);
  check(first_position >= 0 && end <= table.cos_PJ.dim(0), "rope: positions {} to {} of a table of {}", first_position,
        end, table.cos_PJ.dim(0));
  return apply(Rope{table.cos_PJ.slice(0, first_position, end), table.sin_PJ.slice(0, first_position, end)}, x_BSHd);
}

}  // namespace switchyard::ops
