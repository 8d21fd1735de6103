// Gradients against central differences in f64, element by element (256 or so of a large input, evenly spread). Every
// f64 input is differentiated in three ways:
// as the output of another op, as a leaf whose buffer is assigned, and as a leaf that is added to a second time.
#pragma once

#include "switchyard/autograd/apply.h"
#include "tests/support/compare.h"

#include <functional>

namespace switchyard::test {

using Function = std::function<Tensor(const Tensors&)>;

// Makes a leaf look like the output of an op.
struct Identity {
  Tensor forward(const Tensor& x) { return x.clone(); }
  Grads backward(const Tensor& dy) const { return {dy}; }
};

inline bool is_differentiated(const Tensor& t) { return t.defined() && t.dtype() == DType::f64; }

inline double weighted_sum_of(const Tensor& y, const std::vector<double>& weights) {
  const auto values = y.to_vector<double>();
  double sum = 0;
  for (size_t i = 0; i < values.size(); ++i) sum += values[i] * weights[i];
  return sum;
}

inline size_t step_between_elements(size_t count) { return 1 + count / 256; }

// d sum(weights * fn(inputs)) / d inputs[i], of every step-th element
inline std::vector<double> central_differences(const Function& fn, Tensors inputs, size_t i,
                                               const std::vector<double>& weights) {
  const autograd::NoGrad no_grad;
  const auto values = inputs[i].to_vector<double>();
  std::vector<double> slopes;
  for (size_t j = 0; j < values.size(); j += step_between_elements(values.size())) {
    auto at = [&](double shift) {
      auto moved = values;
      moved[j] += shift;
      inputs[i] = Tensor::of(moved, inputs[i].shape());
      return weighted_sum_of(fn(inputs), weights);
    };
    const double h = 1e-5 * std::max(1.0, std::abs(values[j]));
    slopes.push_back((at(h) - at(-h)) / (2 * h));
  }
  return slopes;
}

// Runs fn and its backward on leaves. Buffers start as NaN, so that a gradient which is added instead of assigned
// shows; what arrives at fn's output is not contiguous.
struct LeafRun {
  explicit LeafRun(Tensors values) : inputs(std::move(values)), leaves(inputs.size()) {}
  void make_leaf(size_t i) {
    inputs[i] = inputs[i].clone();
    leaves[i] = autograd::make_leaf(inputs[i], Tensor::full(inputs[i].shape(), DType::f64, std::nan("")));
  }
  void backward(const Function& fn, bool as_leaves, const std::vector<double>& weights) const {
    Tensors arguments = inputs;
    for (Tensor& t : arguments)
      if (!as_leaves && is_differentiated(t) && t.meta()) t = apply(Identity{}, t);
    const Tensor y = fn(arguments);
    autograd::backward({y}, {strided(Tensor::of(weights, y.shape()))});
  }
  Tensors inputs;
  std::vector<std::shared_ptr<autograd::Leaf>> leaves;
};

inline void expect_slopes(const LeafRun& run, const std::vector<std::vector<double>>& slopes, double times,
                          double tolerance, const char* how) {
  for (size_t i = 0; i < run.leaves.size(); ++i) {
    if (!run.leaves[i]) continue;
    ASSERT_TRUE(run.leaves[i]->is_written) << "input " << i << " " << how << ": no gradient";
    const auto got = run.leaves[i]->grad.to_vector<double>();
    double scale = 1e-2;
    for (const double slope : slopes[i]) scale = std::max(scale, std::abs(slope));
    for (size_t s = 0; s < slopes[i].size(); ++s) {
      const size_t j = s * step_between_elements(got.size());
      const double expected = times * slopes[i][s];
      ASSERT_TRUE(std::abs(got[j] - expected) <= tolerance * scale)
          << "input " << i << " " << how << ", element " << j << ": " << got[j] << ", differences say " << expected;
    }
  }
}

// Checks the gradient of fn with respect to every element of every f64 input; other inputs are passed through.
inline void check_gradients(const Function& fn, const Tensors& inputs, double tolerance = 1e-6) {
  Tensor y;
  {
    const autograd::NoGrad no_grad;
    y = fn(inputs);
  }
  ASSERT_EQ(y.dtype(), DType::f64);
  const auto weights = random_tensor(y.shape(), DType::f64, "cotangent").to_vector<double>();
  std::vector<std::vector<double>> slopes(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i)
    if (is_differentiated(inputs[i])) slopes[i] = central_differences(fn, inputs, i, weights);

  for (const bool as_leaves : {false, true}) {
    LeafRun run(inputs);
    for (size_t i = 0; i < inputs.size(); ++i)
      if (is_differentiated(inputs[i])) run.make_leaf(i);
    run.backward(fn, as_leaves, weights);
    expect_slopes(run, slopes, 1, tolerance, as_leaves ? "as a leaf" : "as an op's output");
    run.backward(fn, as_leaves, weights);
    expect_slopes(run, slopes, 2, tolerance, as_leaves ? "as a leaf, twice" : "as an op's output, twice");
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!is_differentiated(inputs[i])) continue;
    LeafRun run(inputs);
    run.make_leaf(i);
    run.backward(fn, false, weights);
    expect_slopes(run, slopes, 1, tolerance, "alone");
  }
}

// Gradients of sum(c * fn(inputs)) for a fixed random c, with every floating input as a leaf: to compare one dtype or
// number of threads with another. Undefined for other inputs.
inline Tensors gradients_of(const Function& fn, Tensors inputs) {
  std::vector<std::shared_ptr<autograd::Leaf>> leaves(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i].defined() && is_floating(inputs[i].dtype()))
      leaves[i] = autograd::make_leaf(inputs[i] = inputs[i].detach());
  const Tensor y = fn(inputs);
  autograd::backward({y}, {strided(random_tensor(y.shape(), DType::bf16, "cotangent").to(y.dtype()))});
  Tensors grads(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i)
    if (leaves[i]) grads[i] = leaves[i]->grad;
  return grads;
}

// The same with floating inputs converted to `dtype` first.
inline Tensors gradients_of(const Function& fn, Tensors inputs, DType dtype) {
  for (Tensor& t : inputs)
    if (t.defined() && is_floating(t.dtype())) t = t.to(dtype);
  return gradients_of(fn, std::move(inputs));
}

}  // namespace switchyard::test
