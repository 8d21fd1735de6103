// Output head and cross entropy against plain f64 loops, gradients against differences.
// T tokens, V vocabulary, D width
#include "switchyard/ops/loss.h"

#include "switchyard/ops/elementwise.h"
#include "tests/ops/rows.h"
#include "tests/support/gradcheck.h"
#include "tests/support/op_table.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

using Values = std::vector<double>;

using Row = LossRow;
const auto& kRows = kLossRows;

struct Exact {
  Values losses, dx, dw;
  double sum = 0;
};

Exact reference(const Tensor& x_TD, const Tensor& w_VD, const Tensor& targets_T, double scale) {
  const auto x = x_TD.to_vector<double>(), w = w_VD.to_vector<double>();
  const auto targets = targets_T.to_vector<int64_t>();
  const size_t T = targets.size(), D = static_cast<size_t>(x_TD.dim(-1)), V = w.size() / D;
  Exact exact{Values(T), Values(x.size()), Values(w.size())};
  for (size_t t = 0; t < T; ++t) {
    if (targets[t] < 0) continue;
    const auto target = static_cast<size_t>(targets[t]);
    Values logits(V);
    double sum = 0;
    for (size_t v = 0; v < V; ++v) {
      for (size_t d = 0; d < D; ++d) logits[v] += x[t * D + d] * w[v * D + d];
      sum += std::exp(logits[v]);
    }
    exact.losses[t] = std::log(sum) - logits[target];
    exact.sum += scale * exact.losses[t];
    for (size_t v = 0; v < V; ++v) {
      const double dlogit = scale * (std::exp(logits[v]) / sum - (v == target ? 1 : 0));
      for (size_t d = 0; d < D; ++d) {
        exact.dx[t * D + d] += dlogit * w[v * D + d];
        exact.dw[v * D + d] += dlogit * x[t * D + d];
      }
    }
  }
  return exact;
}

// x, w and targets; every fifth token or so has no target.
Tensors inputs(const Row& row, DType dtype) {
  auto targets = random_ids({row.T}, -row.V / 5 - 1, row.V, "targets").to_vector<int32_t>();
  for (int32_t& target : targets) target = std::max(target, -1);
  return {random_tensor({row.T, row.D}, dtype, "x"), random_tensor({row.V, row.D}, dtype, "w"),
          Tensor::of(targets, {row.T})};
}

Function loss_with(double scale) {
  return [scale](const Tensors& in) { return ops::linear_cross_entropy(in[0], in[1], in[2], scale); };
}

TEST(LinearCrossEntropy, MatchesPlainLoops) {
  for (const Row& row : kRows)
    for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
      SCOPED_TRACE(fmt::format("{} {}", row.why, name_of(dtype)));
      const Tensors in = inputs(row, dtype);
      const Exact exact = reference(in[0], in[1], in[2], 0.25);
      const DType sums = accumulate_type(dtype);
      const Tensor loss = loss_with(0.25)(in);
      EXPECT_EQ(loss.dtype(), sums);
      EXPECT_LE(max_error(loss, {exact.sum}), tolerance(sums, row.D));
      EXPECT_LE(max_error(ops::cross_entropy_losses(in[0], in[1], in[2]), exact.losses), tolerance(sums, row.D));
    }
}

TEST(LinearCrossEntropy, GradientMatchesPlainLoopsInEveryDtype) {
  for (const Row& row : kRows)
    for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
      SCOPED_TRACE(fmt::format("{} {}", row.why, name_of(dtype)));
      Tensors in = inputs(row, dtype);
      const Exact exact = reference(in[0], in[1], in[2], 0.25);
      const auto dx = autograd::make_leaf(in[0]), dw = autograd::make_leaf(in[1]);
      autograd::backward(loss_with(0.25)(in));
      EXPECT_LE(max_error(dx->grad, exact.dx), 2 * tolerance(dtype, row.V));
      EXPECT_LE(max_error(dw->grad, exact.dw), tolerance(dtype, row.T));
      autograd::backward(loss_with(0.25)(in));
      Values twice = exact.dw;
      for (double& value : twice) value *= 2;
      EXPECT_LE(max_error(dw->grad, twice), tolerance(dtype, row.T));
    }
}

TEST(LinearCrossEntropy, GradientMatchesFiniteDifferences) {
  check_gradients(loss_with(0.3), inputs({5, 7, 3, ""}, DType::f64));
  const Function scaled = [](const Tensors& in) { return ops::weighted_sum({loss_with(0.3)(in)}, {-2.5}); };
  check_gradients(scaled, inputs({5, 7, 3, ""}, DType::f64));
}

TEST(LinearCrossEntropy, SumsOverLeadingDimensions) {
  const Tensors in = inputs({12, 9, 4, ""}, DType::f32);
  const Tensors shaped = {in[0].view({3, 4, 4}), in[1], in[2].view({3, 4})};
  EXPECT_TRUE(same_bits(loss_with(1)(shaped), loss_with(1)(in)));
  const Tensors views = {strided(in[0]), strided(in[1]), strided(in[2])};
  EXPECT_TRUE(same_bits(loss_with(1)(views), loss_with(1)(in)));
}

TEST(LinearCrossEntropy, LossIsTheSameWithAndWithoutGradients) {
  const Tensors in = inputs({300, 40, 16, ""}, DType::bf16);
  Tensors leaves = in;
  const auto dx = autograd::make_leaf(leaves[0]);
  EXPECT_TRUE(same_bits(loss_with(1)(leaves).detach(), loss_with(1)(in)));
}

TEST(LinearCrossEntropy, IsFiniteForLargeLogits) {
  Tensor x = Tensor::of(std::vector<float>{1000, -1000}, {2, 1}), w = Tensor::of(std::vector<float>{1, -1, 0}, {3, 1});
  const Tensor targets = Tensor::of(std::vector<int32_t>{0, 0}, {2});
  const auto dx = autograd::make_leaf(x);
  const Tensor loss = ops::linear_cross_entropy(x, w, targets, 1);
  EXPECT_FLOAT_EQ(static_cast<float>(loss.item()), 2000);
  autograd::backward(loss);
  EXPECT_EQ(dx->grad.to_vector<double>(), (Values{0, -2}));
}

TEST(LinearCrossEntropy, ANanReachesTheLoss) {
  Tensors in = inputs({7, 33, 5, ""}, DType::f32);
  in[0].data<float>()[0] = std::nanf("");
  in[2].data<int32_t>()[0] = 3;
  EXPECT_TRUE(std::isnan(loss_with(1)(in).item()));
}

TEST(LinearCrossEntropy, DoesNotDependOnThreads) {
  SKIP_WITHOUT_SAME_BITS();
  const Tensors in = inputs({600, 300, 64, ""}, DType::f32);
  expect_same_for_any_threads([&] {
    const Tensors grads = gradients_of(loss_with(1), in, DType::f32);
    return Tensors{grads[0], grads[1], loss_with(1)(in)};
  });
}

TEST(LinearCrossEntropy, RefusesATargetOutsideTheVocabulary) {
  const Tensor x = Tensor::zeros({1, 2}, DType::f32), w = Tensor::zeros({4, 2}, DType::f32);
  EXPECT_THROW(ops::linear_cross_entropy(x, w, Tensor::of(std::vector<int32_t>{4}, {1}), 1), Error);
  EXPECT_THROW(ops::linear_cross_entropy(x, w, Tensor::of(std::vector<int32_t>{-2}, {1}), 1), Error);
}

}  // namespace
