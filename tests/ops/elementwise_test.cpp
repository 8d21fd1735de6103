// Elementwise ops and views against plain f64 loops, gradients against differences.
#include "switchyard/ops/elementwise.h"

#include "switchyard/ops/shape.h"
#include "tests/support/gradcheck.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

using Values = std::vector<double>;

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

TEST(Add, RefusesIntegers) {
  const Tensor ids = random_ids({4}, 0, 9, "ids");
  EXPECT_THROW(ops::add(ids, ids), Error);
}

TEST(Elementwise, MatchesPlainLoops) {
  for (const Shape& shape : {Shape{1, 1}, Shape{7, 33}, Shape{600, 64}, Shape{0, 4}})
    for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
      SCOPED_TRACE(fmt::format("{} {}", to_string(shape), name_of(dtype)));
      const Tensor a = random_tensor(shape, dtype, "a"), b = random_tensor(shape, dtype, "b");
      const Tensor gate = random_tensor({shape[0], 1}, dtype, "gate");
      const Values x = a.to_vector<double>(), y = b.to_vector<double>(), g = gate.to_vector<double>();
      Values sum, scaled, clamped, gated;
      for (size_t i = 0; i < x.size(); ++i) {
        sum.push_back(x[i] + y[i]);
        scaled.push_back(0.3 * x[i]);
        clamped.push_back(std::min(std::max(x[i], -0.5), 0.5));
        gated.push_back(x[i] * sigmoid(g[i / static_cast<size_t>(shape[1])]));
      }
      EXPECT_LE(max_error(ops::add(a, b), sum), tolerance(dtype));
      EXPECT_LE(max_error(ops::scale(a, 0.3), scaled), tolerance(dtype));
      EXPECT_LE(max_error(ops::clamp(a, 0.5), clamped), tolerance(dtype));
      EXPECT_LE(max_error(ops::sigmoid_gate(a, gate), gated), tolerance(dtype));
    }
}

TEST(Elementwise, GradientMatchesFiniteDifferences) {
  const Tensor a = random_tensor({3, 5}, DType::f64, "a"), b = random_tensor({3, 5}, DType::f64, "b");
  const Tensor gate = random_tensor({3, 1}, DType::f64, "gate");
  check_gradients([](const Tensors& in) { return ops::add(in[0], in[1]); }, {a, b});
  check_gradients([](const Tensors& in) { return ops::add(in[0], in[0]); }, {a});
  check_gradients([](const Tensors& in) { return ops::scale(in[0], -0.3); }, {a});
  check_gradients([](const Tensors& in) { return ops::clamp(in[0], 0.5); }, {a});
  check_gradients([](const Tensors& in) { return ops::sigmoid_gate(in[0], in[1]); }, {a, gate});
}

TEST(Elementwise, TakesStridedInputs) {
  const Tensor a = random_tensor({7, 33}, DType::f32, "a"), b = random_tensor({7, 33}, DType::f32, "b");
  const Tensor gate = random_tensor({7, 1}, DType::f32, "gate");
  EXPECT_TRUE(same_bits(ops::add(strided(a), b), ops::add(a, b)));
  EXPECT_TRUE(same_bits(ops::scale(strided(a), 2), ops::scale(a, 2)));
  EXPECT_TRUE(same_bits(ops::clamp(strided(a), 0.1), ops::clamp(a, 0.1)));
  EXPECT_TRUE(same_bits(ops::sigmoid_gate(strided(a), strided(gate)), ops::sigmoid_gate(a, gate)));
}

TEST(Elementwise, GradientsDoNotDependOnThreads) {
  const Tensors in = {random_tensor({600, 64}, DType::f32, "a"), random_tensor({600, 1}, DType::f32, "gate")};
  expect_same_for_any_threads([&] {
    return gradients_of([](const Tensors& t) { return ops::clamp(ops::sigmoid_gate(t[0], t[1]), 0.4); }, in,
                        DType::f32);
  });
}

TEST(SigmoidGate, TakesAnF32GateForBf16Rows) {
  const Tensor x = random_tensor({4, 6}, DType::bf16, "x");
  Tensor gate = random_tensor({4, 1}, DType::f32, "gate");
  const auto leaf = autograd::make_leaf(gate);
  const Tensor y = ops::sigmoid_gate(x, gate);
  EXPECT_EQ(y.dtype(), DType::bf16);
  autograd::backward({y}, {Tensor::full(y.shape(), y.dtype(), 1)});
  EXPECT_TRUE(leaf->is_written);
}

TEST(WeightedSum, AddsLossesAndTheirGradients) {
  const Tensors losses = {Tensor::full({1}, DType::f64, 2), {}, Tensor::full({1}, DType::f64, 3)};
  EXPECT_DOUBLE_EQ(ops::weighted_sum(losses, {1, 100, 0.1}).item(), 2.3);
  check_gradients([](const Tensors& in) { return ops::weighted_sum(in, {1, 100, 0.1}); }, losses);
  EXPECT_EQ(ops::weighted_sum({Tensor::full({1}, DType::f32, 2)}, {1}).dtype(), DType::f32);
  EXPECT_THROW(ops::weighted_sum({Tensor::zeros({2}, DType::f32)}, {1}), Error);
}

TEST(Shape, ViewsShareElementsAndPassGradients) {
  const Tensor x = random_tensor({4, 6}, DType::f64, "x");
  EXPECT_EQ(ops::reshape(x, {2, -1}).raw(), x.raw());
  EXPECT_EQ(ops::reshape(x, {2, -1}).shape(), (Shape{2, 12}));
  EXPECT_TRUE(same_bits(ops::reshape(strided(x), {24}), ops::reshape(x, {24})));
  EXPECT_TRUE(same_bits(ops::slice(x, 1, 2, 5), x.slice(1, 2, 5)));
  check_gradients([](const Tensors& in) { return ops::reshape(in[0], {3, 8}); }, {x});
  check_gradients([](const Tensors& in) { return ops::slice(in[0], 1, 2, 5); }, {x});
  check_gradients([](const Tensors& in) { return ops::add(ops::slice(in[0], 0, 0, 2), ops::slice(in[0], 0, 1, 3)); },
                  {x});
}

}  // namespace
