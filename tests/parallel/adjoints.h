// Gradients of collectives by central differences: the loss is summed over ranks, so what every rank gets as its
// gradient is the slope of that sum.
#pragma once

#include "switchyard/autograd/apply.h"
#include "tests/support/compare.h"
#include "tests/support/ranks.h"

#include <functional>

namespace switchyard::test {

// sum c y^2: a loss whose slope depends on y.
struct WeightedSquares {
  Saved y{}, c{};
  Tensor forward(const Tensor& value, const Tensor& weight) {
    y = value, c = weight;
    Tensor sum = Tensor::zeros({}, DType::f64);
    for (int64_t i = 0; i < y.numel(); ++i) sum.data<double>()[0] += c.item(i) * y.item(i) * y.item(i);
    return sum;
  }
  Grads backward(const Tensor& dsum) const {
    Tensor dy = Tensor::empty(y.shape(), DType::f64);
    for (int64_t i = 0; i < y.numel(); ++i) dy.data<double>()[i] = 2 * dsum.item() * c.item(i) * y.item(i);
    return {dy, Tensor{}};
  }
};

using Collective = std::function<Tensor(const Tensor&, const comm::Group&)>;

inline double total_loss(const Tensor& x, const comm::Group& group, const Collective& collective) {
  const autograd::NoGrad no_grad;
  const Tensor y = collective(x, group);
  double loss =
      apply(WeightedSquares{}, y, random_tensor(y.shape(), DType::f64, fmt::format("c{}", group.rank()))).item();
  group.all_reduce(&loss, 1, DType::f64).wait();
  return loss;
}

// rows[r]: rows that rank r puts in.
inline void check_row(const std::vector<int64_t>& rows, const Collective& collective) {
  constexpr int64_t kWidth = 3;
  run_ranks(static_cast<int>(rows.size()), [&](comm::World& world) {
    const comm::Group& group = world.all();
    const auto me = static_cast<size_t>(world.rank());
    Tensor x = random_tensor({rows[me], kWidth}, DType::f64, fmt::format("x{}", me));
    const auto leaf = autograd::make_leaf(x);
    const Tensor y = collective(x, group);
    autograd::backward(
        apply(WeightedSquares{}, y, random_tensor(y.shape(), DType::f64, fmt::format("c{}", group.rank()))));

    for (size_t r = 0; r < rows.size(); ++r)
      for (int64_t i = 0; i < rows[r] * kWidth; ++i) {
        auto at = [&](double shift) {
          Tensor moved = x.detach().clone();
          if (r == me) moved.data<double>()[i] += shift;
          return total_loss(moved, group, collective);
        };
        const double h = 1e-5, slope = (at(h) - at(-h)) / (2 * h);
        if (r != me) continue;
        EXPECT_NEAR(leaf->grad.item(i), slope, 1e-8) << "rank " << r << " element " << i;
      }
  });
}

}  // namespace switchyard::test
