// The total loss: a weighted sum of one-element tensors, added in order in f64.
#include "switchyard/autograd/apply.h"
#include "switchyard/ops/elementwise.h"

namespace switchyard::ops {
namespace {

struct WeightedSum {
  std::vector<double> weights;
  std::vector<Shape> shapes{};
  std::vector<DType> dtypes{};

  Tensor forward(const Tensors& scalars) {
    check(scalars.size() == weights.size(), "weighted_sum: {} scalars, {} weights", scalars.size(), weights.size());
    double sum = 0;
    DType dtype = DType::f32;
    for (size_t i = 0; i < scalars.size(); ++i) {
      const Tensor& scalar = scalars[i];
      shapes.push_back(scalar.defined() ? scalar.shape() : Shape{});
      dtypes.push_back(scalar.defined() ? scalar.dtype() : DType::f32);
      if (!scalar.defined()) continue;
      check(scalar.numel() == 1, "weighted_sum: input {} has shape {}", i, to_string(scalar.shape()));
      if (scalar.dtype() == DType::f64) dtype = DType::f64;
      sum += weights[i] * scalar.item();
    }
    return Tensor::full({1}, dtype, sum);
  }
  Grads backward(const Tensor& dy) const {
    Grads grads(weights.size());
    for (size_t i = 0; i < weights.size(); ++i)
      if (autograd::input_needs_grad(static_cast<int>(i)))
        grads[i] = Tensor::full(shapes[i], dtypes[i], weights[i] * dy.item());
    return grads;
  }
};

}  // namespace

Tensor weighted_sum(const Tensors& scalars, const std::vector<double>& weights) {
  return apply_list(WeightedSum{.weights = weights}, scalars).at(0);
}

}  // namespace switchyard::ops
