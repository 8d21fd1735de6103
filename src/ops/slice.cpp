// Elements [begin, end) of one dimension, as a view. Elements outside get a zero gradient.
#include "switchyard/autograd/apply.h"
#include "switchyard/ops/shape.h"

namespace switchyard::ops {
namespace {

struct Cut {
  int64_t dim, begin, end;
  Shape from{};

  Tensor forward(const Tensor& x) {
    from = x.shape();
    return x.slice(dim, begin, end);
  }
  Grads backward(const Tensor& dy) const {
    Tensor dx = Tensor::zeros(from, dy.dtype());
    dx.slice(dim, begin, end).copy_from(dy);
    return {dx};
  }
};

}  // namespace

Tensor slice(const Tensor& x, int64_t dim, int64_t begin, int64_t end) {
  return apply(Cut{.dim = dim, .begin = begin, .end = end}, x);
}

}  // namespace switchyard::ops
