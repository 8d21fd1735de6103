// y = a + b. Both gradients are dy itself.
#include "kernels/elementwise.h"
#include "switchyard/autograd/apply.h"
#include "switchyard/ops/elementwise.h"

namespace switchyard::ops {
namespace {

struct Add {
  Tensor forward(const Tensor& a, const Tensor& b) {
    check(a.shape() == b.shape() && a.dtype() == b.dtype(), "add: {} {} and {} {}", shape_text(a.shape()),
          name_of(a.dtype()), shape_text(b.shape()), name_of(b.dtype()));
    const Tensor left = a.contiguous(), right = b.contiguous();
    Tensor y = Tensor::empty(a.shape(), a.dtype());
    on_device(a, [&](auto exec) {
      kernels::add(exec, {.a = left.raw(), .b = right.raw(), .y = y.raw(), .count = y.numel(), .dtype = y.dtype()});
    });
    return y;
  }
  Grads backward(const Tensor& dy) const { return {dy, dy}; }
};

}  // namespace

Tensor add(const Tensor& a, const Tensor& b) { return apply(Add{}, a, b); }

}  // namespace switchyard::ops
