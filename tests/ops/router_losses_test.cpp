// Balance loss and z-loss against published vectors, plain f64 loops and finite differences.   T tokens, E experts
#include "switchyard/ops/router.h"

#include "tests/ops/router_support.h"

#include <algorithm>

namespace switchyard::ops {
namespace {

using namespace test;

// In groups of `rows` tokens, as a loss of divisor 3.
OpRows balance_rows(Score score) {
  OpRows all;
  for (const SelectionRow& row : kSelectionRows) {
    const int64_t rows = std::max<int64_t>(1, row.T / 3);
    const Tensor f_GE = frequencies(select_experts(logits(row, DType::f32), row.K).ids_TK, row.E, rows, DType::f64);
    const auto f = f_GE.to_vector<double>();
    all.push_back({.why = row.why,
                   .inputs = [=](DType dtype) { return Tensors{logits(row, dtype)}; },
                   .op = [=](const Tensors& in) { return balance_loss(in[0], f_GE.to(in[0].dtype()), rows, 3, score); },
                   .loops =
                       [=](const Tensors& in) {
                         const auto z = in[0].to_vector<double>();
                         const auto E = static_cast<size_t>(row.E);
                         double loss = 0;
                         for (size_t t = 0; t < static_cast<size_t>(row.T); ++t) {
                           const auto s = scores(z.data() + t * E, E, score);
                           double sum = 0, dot = 0;
                           for (size_t e = 0; e < E; ++e) {
                             sum += s[e];
                             dot += s[e] * f[t / static_cast<size_t>(rows) * E + e];
                           }
                           loss += static_cast<double>(E) / 3 * dot / sum;
                         }
                         return std::vector<double>{loss};
                       },
                   .terms = row.E,
                   .has_tiny_gradients = row.E <= row.K + 1 || row.skew == Skew::one_expert,
                   .dtypes = {DType::f64, DType::f32}});
  }
  return all;
}

OP_TABLE_TESTS(SoftmaxBalanceLoss, balance_rows(Score::softmax))
OP_TABLE_TESTS(SigmoidBalanceLoss, balance_rows(Score::sigmoid))

// Golden G3: the Switch loss.
TEST(BalanceLoss, GivesThePublishedSwitchNumbers) {
  const std::vector<double> z{2, 1, 0, 0.5, 1.5, -0.5, 1, 0, 0.2, 3, -1, 1};
  for (const DType dtype : {DType::f64, DType::f32}) {
    const double bound = dtype == DType::f64 ? 1e-9 : 2e-6;
    const Tensor zt = tensor_of(z, 3, dtype);
    const Tensor f = frequencies(select_experts(zt, 1).ids_TK, 3, 4, dtype);
    expect_near(f.to_vector<double>(), {0.75, 0.25, 0}, 0);
    auto loss = [&](const Tensor& x) { return balance_loss(x, f, 4, 4, Score::softmax); };
    EXPECT_NEAR(loss(zt).item(), 1.520534975, bound);
    expect_near(gradient(zt, {1}, loss),
                {0.09474054, -0.05692008, -0.03782046, 0.073444863, -0.049821521, -0.023623342, 0.118314107,
                 -0.032390451, -0.085923656, 0.062359163, -0.004811442, -0.057547721},
                bound);
    const Selection two = select_experts(zt, 2);
    EXPECT_EQ(two.counts_E.to_vector<int64_t>(), (std::vector<int64_t>{4, 2, 2}));
    EXPECT_NEAR(balance_loss(zt, frequencies(two.ids_TK, 3, 4, dtype), 4, 4, Score::softmax).item(), 1.186327008,
                bound);
  }
}

// Golden G11: two ranks x two micro-steps of two tokens, E = 2, k = 1; rows below are the probabilities of expert 0.
TEST(BalanceLoss, GivesThePublishedGlobalBatchNumbers) {
  std::vector<double> z;
  for (const double p : {.9, .8, .7, .4, .3, .6, .2, .9}) z.insert(z.end(), {std::log(p), std::log(1 - p)});
  const Tensor zt = tensor_of(z, 2), ids = select_experts(zt, 1).ids_TK;
  EXPECT_NEAR(balance_loss(zt, frequencies(ids, 2, 2, DType::f64), 2, 8, Score::softmax).item(), 1.175, 1e-12);
  EXPECT_NEAR(balance_loss(zt, frequencies(ids, 2, 8, DType::f64), 8, 8, Score::softmax).item(), 1.05, 1e-12);
}

TEST(BalanceLoss, PartsOfABatchAddUpToTheWhole) {
  const int64_t T = 12, E = 5, rows = 3;
  const Tensor z = random_tensor({T, E}, DType::f64, "logits"), ids = select_experts(z, 2).ids_TK;
  for (const Score score : {Score::softmax, Score::sigmoid}) {
    const Tensor f = frequencies(ids, E, rows, DType::f64);
    double parts = 0;
    for (int64_t g = 0; g < T / rows; ++g)
      parts += balance_loss(z.slice(0, g * rows, (g + 1) * rows), f.slice(0, g, g + 1), rows, T, score).item();
    EXPECT_NEAR(balance_loss(z, f, rows, T, score).item(), parts, 1e-14);
  }
}

TEST(BalanceLoss, IsFiniteWhereAllSigmoidsAreZero) {
  const Tensor z = Tensor::full({3, 4}, DType::f32, -200), f = Tensor::full({1, 4}, DType::f32, 0.25);
  auto loss = [&](const Tensor& x) { return balance_loss(x, f, 3, 3, Score::sigmoid); };
  EXPECT_EQ(loss(z).item(), 0);
  expect_near(gradient(z, {1}, loss), std::vector<double>(12, 0.0), 0);
}

TEST(BalanceLoss, UniformFrequenciesHaveNoGradient) {
  const Tensor z = random_tensor({6, 8}, DType::f64, "logits"), f = Tensor::full({1, 8}, DType::f64, 0.125);
  for (const Score score : {Score::softmax, Score::sigmoid}) {
    auto loss = [&](const Tensor& x) { return balance_loss(x, f, 6, 6, score); };
    EXPECT_NEAR(loss(z).item(), 1, 1e-14);
    expect_near(gradient(z, {1}, loss), std::vector<double>(48, 0.0), 1e-16);
  }
}

// ---- z-loss ----

// Logits times `size`: a hundredfold they are far outside of what exp can take.
OpRows z_rows(double size) {
  OpRows all;
  for (const SelectionRow& row : kSelectionRows)
    all.push_back({.why = row.why,
                   .inputs =
                       [=](DType dtype) {
                         auto z = logits(row, dtype).to_vector<double>();
                         for (double& x : z) x *= size;
                         return Tensors{tensor_of(z, row.E, dtype).view({row.T, row.E})};
                       },
                   .op = [](const Tensors& in) { return z_loss(in[0], 3); },
                   .loops =
                       [=](const Tensors& in) {
                         const auto z = in[0].to_vector<double>();
                         const auto E = static_cast<size_t>(row.E);
                         double loss = 0;
                         for (size_t t = 0; t < static_cast<size_t>(row.T); ++t) {
                           const double* row_z = z.data() + t * E;
                           const double largest = *std::max_element(row_z, row_z + E);
                           double sum = 0;
                           for (size_t e = 0; e < E; ++e) sum += std::exp(row_z[e] - largest);
                           loss += std::pow(largest + std::log(sum), 2) / 3;
                         }
                         return std::vector<double>{loss};
                       },
                   .terms = row.E,
                   .dtypes = {DType::f64, DType::f32}});
  return all;
}

OP_TABLE_TESTS(ZLoss, z_rows(1))
OP_TABLE_TESTS(ZLossOfLargeLogits, z_rows(100))

// Golden G4.
TEST(ZLoss, GivesThePublishedNumbers) {
  const std::vector<double> z{1, 2, 3, 0, 0, 0};
  for (const DType dtype : {DType::f64, DType::f32}) {
    const double bound = dtype == DType::f64 ? 1e-9 : 2e-6;
    auto loss = [&](const Tensor& x) { return z_loss(x, 2); };
    EXPECT_NEAR(loss(tensor_of(z, 3, dtype)).item(), 6.409363685, bound);
    expect_near(gradient(tensor_of(z, 3, dtype), {1}, loss),
                {0.306788718, 0.833938198, 2.266879049, 0.366204096, 0.366204096, 0.366204096}, bound);
  }
}

}  // namespace
}  // namespace switchyard::ops
