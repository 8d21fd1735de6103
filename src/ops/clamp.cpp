// y = min(max(x, -limit), limit)
#include "kernels/elementwise.h"
#include "switchyard/autograd/apply.h"
#include "switchyard/ops/elementwise.h"

namespace switchyard::ops {
namespace {

struct Clamp {
  double limit;
  Saved x{};

  Tensor forward(const Tensor& input) {
    check(limit >= 0, "clamp: limit {} is negative", limit);
    x = input.contiguous();
    Tensor y = Tensor::empty(x.shape(), x.dtype());
    on_device(x, [&](auto exec) {
      kernels::clamp(exec, {.x = x.raw(), .y = y.raw(), .count = y.numel(), .limit = limit, .dtype = y.dtype()});
    });
    return y;
  }
  Grads backward(const Tensor& dout) const {
    const Tensor dy = dout.contiguous();
    Tensor dx = Tensor::empty(x.shape(), x.dtype());
    on_device(x, [&](auto exec) {
      kernels::clamp_backward(
          exec, {.dy = dy.raw(), .x = x.raw(), .dx = dx.raw(), .count = x.numel(), .limit = limit, .dtype = x.dtype()});
    });
    return {dx};
  }
};

}  // namespace

Tensor clamp(const Tensor& x, double limit) { return apply(Clamp{.limit = limit}, x); }

}  // namespace switchyard::ops
