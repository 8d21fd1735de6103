// Routing ops against published vectors, plain f64 loops and finite differences.   T tokens, E experts, K choices
#include "switchyard/ops/router.h"

#include "switchyard/autograd/apply.h"
#include "tests/ops/rows.h"
#include "tests/support/gradcheck.h"

#include <algorithm>
#include <numeric>

namespace switchyard::ops {
namespace {

using test::max_error;
using test::random_tensor;

Tensor logits(const std::vector<double>& z, int64_t E, DType dtype = DType::f64) {
  return Tensor::of(z, {static_cast<int64_t>(z.size()) / E, E}).to(dtype);
}

std::vector<int32_t> ids_of(const Selection& s) { return s.ids_TK.to_vector<int32_t>(); }

// f = c / (K tokens) of each group
Tensor frequencies(const Tensor& ids_TK, int64_t E, int64_t rows, DType dtype) {
  const Tensor counts = count_experts(ids_TK, E, rows);
  auto f = counts.to_vector<double>();
  for (double& value : f) value /= static_cast<double>(rows * ids_TK.dim(1));
  return Tensor::of(f, counts.shape()).to(dtype);
}

// Gradient of fn at z when the output's gradient is dy.
template <class Fn>
std::vector<double> gradient(const Tensor& z, const std::vector<double>& dy, Fn&& fn) {
  Tensor leaf_tensor = z.clone();
  const auto leaf = autograd::make_leaf(leaf_tensor);
  const Tensor y = fn(leaf_tensor);
  autograd::backward({y}, {Tensor::of(dy, y.shape()).to(y.dtype())});
  return leaf->grad.to_vector<double>();
}

void expect_near(const std::vector<double>& got, const std::vector<double>& expected, double bound) {
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], bound) << "element " << i;
}

// ---- selection ----

// Sorts all experts of each row: larger value first, then smaller index.
std::vector<int32_t> plain_selection(const Tensor& values_TE, int64_t k) {
  const int64_t T = values_TE.dim(0), E = values_TE.dim(1);
  const auto v = values_TE.to_vector<double>();
  std::vector<int32_t> ids;
  for (int64_t t = 0; t < T; ++t) {
    std::vector<int32_t> order(static_cast<size_t>(E));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
      return v[static_cast<size_t>(t * E + a)] > v[static_cast<size_t>(t * E + b)];
    });
    std::sort(order.begin(), order.begin() + k);
    ids.insert(ids.end(), order.begin(), order.begin() + k);
  }
  return ids;
}

using Case = test::SelectionRow;
const auto& kCases = test::kSelectionRows;

TEST(SelectExperts, MatchesSortingEveryRow) {
  for (const auto& c : kCases) {
    for (const DType dtype : {DType::f32, DType::f64}) {
      const Tensor z = random_tensor({c.T, c.E}, dtype, "logits");
      const Selection s = select_experts(z, c.K);
      EXPECT_EQ(ids_of(s), plain_selection(z, c.K)) << c.why;
      EXPECT_EQ(s.bad_rows, 0) << c.why;
      std::vector<int64_t> counts(static_cast<size_t>(c.E));
      for (const int32_t id : ids_of(s)) ++counts[static_cast<size_t>(id)];
      EXPECT_EQ(s.counts_E.to_vector<int64_t>(), counts) << c.why;
    }
  }
}

TEST(SelectExperts, BiasedChoiceMatchesSortingBiasedScores) {
  const int64_t T = 90, E = 40, K = 6;
  const Tensor z = random_tensor({T, E}, DType::f64, "logits"), bias = random_tensor({E}, DType::f32, "bias", 0.1);
  const auto zv = z.to_vector<double>(), b = bias.to_vector<double>();
  for (const Score score : {Score::softmax, Score::sigmoid}) {
    std::vector<double> values;
    for (int64_t t = 0; t < T; ++t) {
      double sum = 0;
      for (int64_t e = 0; e < E; ++e) sum += std::exp(zv[static_cast<size_t>(t * E + e)]);
      for (int64_t e = 0; e < E; ++e) {
        const double x = std::exp(zv[static_cast<size_t>(t * E + e)]);
        values.push_back((score == Score::softmax ? x / sum : x / (1 + x)) + b[static_cast<size_t>(e)]);
      }
    }
    EXPECT_EQ(ids_of(select_experts(z, K, bias, score)), plain_selection(Tensor::of(values, {T, E}), K));
  }
}

TEST(SelectExperts, TiesGoToTheSmallerIndex) {
  const Selection s = select_experts(logits({0, 0, 0, 0, 1, 2, 1, 1}, 4), 2);
  EXPECT_EQ(ids_of(s), (std::vector<int32_t>{0, 1, 0, 1}));
  EXPECT_EQ(s.min_margin, 0);
  const Tensor many = Tensor::zeros({3, 100}, DType::f32);
  EXPECT_EQ(ids_of(select_experts(many, 3)), (std::vector<int32_t>{0, 1, 2, 0, 1, 2, 0, 1, 2}));
}

TEST(SelectExperts, MarginIsTheSmallestGapOfAnyToken) {
  EXPECT_NEAR(select_experts(logits({3, 1, 0, 2, 5, 4.75, 4, 0}, 4), 2).min_margin, 0.75, 1e-15);
  EXPECT_EQ(select_experts(logits({3, 1}, 2), 2).min_margin, HUGE_VAL);
}

TEST(SelectExperts, ReportsRowsThatAreNotFinite) {
  for (const double bad : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    const Selection s = select_experts(logits({0, bad, 1, 3, 0, 2}, 3, DType::f32), 2);
    EXPECT_EQ(s.bad_rows, 1);
    EXPECT_EQ(ids_of(s), (std::vector<int32_t>{0, 1, 0, 2}));
    EXPECT_EQ(s.counts_E.to_vector<int64_t>(), (std::vector<int64_t>{1, 0, 1}));
  }
}

TEST(SelectExperts, ConstantShiftsChangeNothing) {
  const int64_t E = 16;
  const Tensor z = random_tensor({50, E}, DType::f64, "logits"), bias = random_tensor({E}, DType::f32, "bias", 0.1);
  auto shifted = z.to_vector<double>();
  for (size_t i = 0; i < shifted.size(); ++i) shifted[i] += static_cast<double>(i / E);
  auto raised = bias.to_vector<float>();
  for (float& b : raised) b += 0.5f;
  const Tensor moved = Tensor::of(shifted, z.shape()), higher = Tensor::of(raised, {E});
  EXPECT_EQ(ids_of(select_experts(z, 3)), ids_of(select_experts(moved, 3)));
  EXPECT_EQ(ids_of(select_experts(z, 3, bias)), ids_of(select_experts(moved, 3, bias)));
  EXPECT_EQ(ids_of(select_experts(z, 3, bias, Score::sigmoid)), ids_of(select_experts(z, 3, higher, Score::sigmoid)));
}

TEST(SelectExperts, DoesNotDependOnThreads) {
  const Tensor z = random_tensor({1000, 24}, DType::f32, "logits");
  test::expect_same_for_any_threads([&] {
    const Selection s = select_experts(z, 3);
    return Tensors{s.ids_TK, s.counts_E, Tensor::of(std::vector<double>{s.min_margin}, {1})};
  });
}

TEST(CountExperts, CountsEachGroupOfTokens) {
  const Tensor ids = Tensor::of(std::vector<int32_t>{0, 1, 1, 2, 0, 2, 1, 2, 0, 1}, {5, 2});
  EXPECT_EQ(count_experts(ids, 4, 2).to_vector<int64_t>(), (std::vector<int64_t>{1, 2, 1, 0, 1, 1, 2, 0, 1, 1, 0, 0}));
  EXPECT_EQ(count_experts(ids, 4, 5).to_vector<int64_t>(), (std::vector<int64_t>{3, 4, 3, 0}));
}

// ---- weights ----

const std::vector<WeightRule> kRules{{Score::softmax, false, 1.5},
                                     {Score::softmax, true, 2.5},
                                     {Score::sigmoid, true, 2.5},
                                     {Score::sigmoid, false, 0.7}};

std::vector<double> plain_weights(const Tensor& z, const Tensor& ids, const WeightRule& rule) {
  const auto zv = z.to_vector<double>();
  const auto id = ids.to_vector<int64_t>();
  const auto K = static_cast<size_t>(ids.dim(1)), E = static_cast<size_t>(z.dim(1));
  std::vector<double> weights;
  for (size_t t = 0; t < static_cast<size_t>(z.dim(0)); ++t) {
    const double largest =
        *std::max_element(zv.begin() + static_cast<long>(t * E), zv.begin() + static_cast<long>((t + 1) * E));
    double all = 0, chosen = 0;
    auto score = [&](double x) {
      return rule.score == Score::softmax ? std::exp(x - largest) / all : 1 / (1 + std::exp(-x));
    };
    for (size_t e = 0; e < E; ++e) all += std::exp(zv[t * E + e] - largest);
    for (size_t i = 0; i < K; ++i) chosen += score(zv[t * E + static_cast<size_t>(id[t * K + i])]);
    for (size_t i = 0; i < K; ++i)
      weights.push_back(rule.scale * score(zv[t * E + static_cast<size_t>(id[t * K + i])]) /
                        (rule.normalize ? chosen : 1));
  }
  return weights;
}

TEST(RouterWeights, MatchTheirDefinitionInEveryRule) {
  for (const auto& c : kCases) {
    for (const auto& rule : kRules) {
      for (const DType dtype : {DType::f32, DType::f64}) {
        const Tensor z = random_tensor({c.T, c.E}, dtype, "logits", 2);
        const Tensor ids = select_experts(z, c.K).ids_TK;
        EXPECT_LE(max_error(router_weights(z, ids, rule), plain_weights(z, ids, rule)), test::tolerance(dtype, c.E))
            << c.why;
      }
    }
  }
}

TEST(RouterWeights, GradientMatchesFiniteDifferences) {
  for (const auto& rule : kRules) {
    const Tensor z = random_tensor({4, 6}, DType::f64, "logits");
    const Tensor ids = select_experts(z, 3).ids_TK;
    test::check_gradients([&](const Tensors& in) { return router_weights(in[0], ids, rule); }, {z});
  }
}

// Golden G19 of the routing specification: Mixtral's two forms, and the rule without normalisation.
TEST(RouterWeights, GiveThePublishedMixtralNumbers) {
  const Tensor z = logits({1, 3, 0.5, 2}, 4), ids = select_experts(z, 2).ids_TK;
  EXPECT_EQ(ids.to_vector<int32_t>(), (std::vector<int32_t>{1, 3}));
  const WeightRule normalized{}, plain{.normalize = false};
  expect_near(router_weights(z, ids, normalized).to_vector<double>(), {0.731058579, 0.268941421}, 1e-9);
  expect_near(router_weights(z, ids, plain).to_vector<double>(), {0.630795543, 0.232056712}, 1e-9);
  expect_near(gradient(z, {1, -2}, [&](const Tensor& x) { return router_weights(x, ids, normalized); }),
              {0, 0.5898358, 0, -0.5898358}, 1e-7);
  expect_near(gradient(z, {1, -2}, [&](const Tensor& x) { return router_weights(x, ids, plain); }),
              {-0.014229468, 0.525653205, -0.008630609, -0.502793128}, 1e-9);
}

TEST(RouterWeights, SurviveLargeLogits) {
  const Tensor z = logits({80, -80, 79, 0}, 4, DType::f32), ids = select_experts(z, 2).ids_TK;
  for (const auto& rule : kRules) {
    for (const double w : router_weights(z, ids, rule).to_vector<double>()) EXPECT_TRUE(std::isfinite(w));
  }
  expect_near(router_weights(z, ids, {}).to_vector<double>(), {0.731058579, 0.268941421}, 1e-6);
}

TEST(RouterWeights, AreNanWhereAnyLogitIsNotFinite) {
  for (const double bad : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    const Tensor z = logits({3, 2, 1, bad, 0, 2, 1, 3}, 4, DType::f32), ids = select_experts(z, 2).ids_TK;
    for (const auto& rule : kRules) {
      const auto w = router_weights(z, ids, rule).to_vector<double>();
      EXPECT_TRUE(std::isnan(w[0]) && std::isnan(w[1]) && std::isfinite(w[2]) && std::isfinite(w[3]));
    }
  }
}

TEST(RouterWeights, OneNormalizedChoiceHasWeightScaleAndNoGradient) {
  const Tensor z = random_tensor({5, 6}, DType::f64, "logits"), ids = select_experts(z, 1).ids_TK;
  for (const Score score : {Score::softmax, Score::sigmoid}) {
    const WeightRule rule{score, true, 2.5};
    expect_near(router_weights(z, ids, rule).to_vector<double>(), std::vector<double>(5, 2.5), 1e-15);
    expect_near(gradient(z, {1, 2, 3, 4, 5}, [&](const Tensor& x) { return router_weights(x, ids, rule); }),
                std::vector<double>(30, 0.0), 1e-15);
  }
}

TEST(RouterWeights, SoftmaxGradientSumsToZeroOverExperts) {
  const int64_t E = 7;
  const Tensor z = random_tensor({3, E}, DType::f64, "logits"), ids = select_experts(z, 2).ids_TK;
  for (const bool normalize : {false, true}) {
    const auto dz = gradient(z, {1, -2, 3, 4, -1, 2},
                             [&](const Tensor& x) { return router_weights(x, ids, {.normalize = normalize}); });
    for (size_t t = 0; t < 3; ++t)
      EXPECT_NEAR(
          std::accumulate(dz.begin() + static_cast<long>(t) * E, dz.begin() + static_cast<long>(t + 1) * E, 0.0), 0,
          1e-14);
  }
}

TEST(RouterWeights, StridedLogitsGiveTheSame) {
  const Tensor z = random_tensor({9, 6}, DType::f32, "logits"), gaps = test::strided(z);
  const Tensor ids = select_experts(z, 3).ids_TK;
  EXPECT_TRUE(test::same_bits(ids, select_experts(gaps, 3).ids_TK));
  EXPECT_TRUE(test::same_bits(router_weights(z, ids, {}), router_weights(gaps, ids, {})));
  EXPECT_TRUE(test::same_bits(z_loss(z, 9), z_loss(gaps, 9)));
}

// ---- balance loss ----

// Golden G3: the Switch loss.
TEST(BalanceLoss, GivesThePublishedSwitchNumbers) {
  const std::vector<double> z{2, 1, 0, 0.5, 1.5, -0.5, 1, 0, 0.2, 3, -1, 1};
  for (const DType dtype : {DType::f64, DType::f32}) {
    const double bound = dtype == DType::f64 ? 1e-9 : 2e-6;
    const Tensor zt = logits(z, 3, dtype);
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
  const Tensor zt = logits(z, 2), ids = select_experts(zt, 1).ids_TK;
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

TEST(BalanceLoss, GradientMatchesFiniteDifferences) {
  const int64_t T = 6, E = 5, rows = 3;
  const Tensor z = random_tensor({T, E}, DType::f64, "logits");
  const Tensor f = frequencies(select_experts(z, 2).ids_TK, E, rows, DType::f64);
  for (const Score score : {Score::softmax, Score::sigmoid})
    test::check_gradients([&](const Tensors& in) { return balance_loss(in[0], f, rows, 7.5, score); }, {z});
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

TEST(BalanceLoss, HoldsForManyRowsAndAnyThreads) {
  const int64_t T = 1000, E = 24;
  for (const Score score : {Score::softmax, Score::sigmoid}) {
    const Tensor z = random_tensor({T, E}, DType::f32, "logits");
    const Tensor f = frequencies(select_experts(z, 2).ids_TK, E, 100, DType::f32);
    const auto zv = z.to_vector<double>(), fv = f.to_vector<double>();
    double expected = 0;
    for (size_t t = 0; t < T; ++t) {
      double sum = 0, dot = 0;
      for (size_t e = 0; e < E; ++e) {
        const double x = std::exp(zv[t * E + e]), s = score == Score::softmax ? x : x / (1 + x);
        sum += s;
        dot += s * fv[t / 100 * E + e];
      }
      expected += E * dot / sum / T;
    }
    EXPECT_NEAR(balance_loss(z, f, 100, T, score).item(), expected, 1e-6);
    test::expect_same_for_any_threads([&] { return Tensors{balance_loss(z, f, 100, T, score)}; });
  }
}

// ---- z-loss ----

// Golden G4.
TEST(ZLoss, GivesThePublishedNumbers) {
  const std::vector<double> z{1, 2, 3, 0, 0, 0};
  for (const DType dtype : {DType::f64, DType::f32}) {
    const double bound = dtype == DType::f64 ? 1e-9 : 2e-6;
    auto loss = [&](const Tensor& x) { return z_loss(x, 2); };
    EXPECT_NEAR(loss(logits(z, 3, dtype)).item(), 6.409363685, bound);
    expect_near(gradient(logits(z, 3, dtype), {1}, loss),
                {0.306788718, 0.833938198, 2.266879049, 0.366204096, 0.366204096, 0.366204096}, bound);
  }
}

TEST(ZLoss, GradientMatchesFiniteDifferences) {
  const Tensor z = random_tensor({5, 6}, DType::f64, "logits", 3);
  test::check_gradients([&](const Tensors& in) { return z_loss(in[0], 5); }, {z});
}

TEST(ZLoss, NoTokenGivesZero) {
  const Tensor z = Tensor::empty({0, 4}, DType::f32);
  EXPECT_EQ(z_loss(z, 8).item(), 0);
  EXPECT_EQ(balance_loss(z, Tensor::empty({0, 4}, DType::f32), 4, 8, Score::softmax).item(), 0);
  EXPECT_TRUE(gradient(z, {1}, [](const Tensor& x) { return z_loss(x, 8); }).empty());
}

}  // namespace
}  // namespace switchyard::ops
