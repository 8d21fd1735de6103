// y = factor * x
#include "kernels/elementwise.h"
#include "switchyard/autograd/apply.h"
#include "switchyard/ops/elementwise.h"

namespace switchyard::ops {
namespace {

struct Scale {
  double factor;

  Tensor times(const Tensor& x) const {
    const Tensor from = x.contiguous();
    Tensor y = Tensor::empty(x.shape(), x.dtype());
    on_device(x, [&](auto exec) {
      kernels::scale(exec, {.x = from.raw(), .y = y.raw(), .count = y.numel(), .factor = factor, .dtype = y.dtype()});
    });
    return y;
  }
  Tensor forward(const Tensor& x) { return times(x); }
  Grads backward(const Tensor& dy) const { return {times(dy)}; }
};

}  // namespace

Tensor scale(const Tensor& x, double factor) { return apply(Scale{.factor = factor}, x); }

}  // namespace switchyard::ops
