// The total loss: a weighted sum of one-element tensors, added in order, in f64 where the host adds.
#include "kernels/elementwise.h"
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
    DType dtype = DType::f32;
    for (size_t i = 0; i < scalars.size(); ++i) {
      const Tensor& scalar = scalars[i];
      shapes.push_back(scalar.defined() ? scalar.shape() : Shape{});
      dtypes.push_back(scalar.defined() ? scalar.dtype() : DType::f32);
      if (!scalar.defined()) continue;
      check(scalar.numel() == 1, "weighted_sum: input {} has shape {}", i, shape_text(scalar.shape()));
      if (scalar.dtype() == DType::f64) dtype = DType::f64;
    }
    return current_device() == Device::cpu ? sum_on_host(scalars, dtype) : sum_on_device(scalars, dtype);
  }
  Tensor sum_on_host(const Tensors& scalars, DType dtype) const {
    double sum = 0;
    for (size_t i = 0; i < scalars.size(); ++i)
      if (scalars[i].defined()) sum += weights[i] * scalars[i].item();
    return Tensor::full({1}, dtype, sum);
  }
  Tensor sum_on_device(const Tensors& scalars, DType dtype) const {
    const Tensor sum = Tensor::zeros({1}, dtype);
    for (size_t i = 0; i < scalars.size(); ++i) {
      if (!scalars[i].defined()) continue;
      const Tensor term = scalars[i].to(dtype);
      on_device(sum, [&](auto exec) {
        kernels::add_scaled(
            exec,
            {.x = term.raw(), .y = sum.raw(), .count = 1, .factor = weights[i], .accumulate = true, .dtype = dtype});
      });
    }
    return sum;
  }
  Grads backward(const Tensor& dy) const {
    const DeviceScope scope(dy.device());
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
