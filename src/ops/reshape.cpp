// The same elements under another shape.
#include "switchyard/autograd/apply.h"
#include "switchyard/ops/shape.h"

namespace switchyard::ops {
namespace {

struct Reshape {
  Shape to;
  Shape from{};

  Tensor forward(const Tensor& x) {
    from = x.shape();
    return x.contiguous().view(to);
  }
  Grads backward(const Tensor& dy) const { return {dy.contiguous().view(from)}; }
};

}  // namespace

Tensor reshape(const Tensor& x, const Shape& shape) { return apply(Reshape{.to = shape}, x); }

}  // namespace switchyard::ops
