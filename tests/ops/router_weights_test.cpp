// Row weights of chosen experts against published vectors, plain f64 loops and finite differences.
//   T tokens, E experts, K choices
#include "switchyard/ops/router.h"

#include "tests/ops/router_support.h"

#include <numeric>

namespace switchyard::ops {
namespace {

using namespace test;

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
    const auto s = scores(zv.data() + t * E, E, rule.score);
    auto score = [&](size_t i) { return s[static_cast<size_t>(id[t * K + i])]; };
    double chosen = 0;
    for (size_t i = 0; i < K; ++i) chosen += score(i);
    for (size_t i = 0; i < K; ++i) weights.push_back(rule.scale * score(i) / (rule.normalize ? chosen : 1));
  }
  return weights;
}

OpRows weight_rows(const WeightRule& rule) {
  OpRows all;
  for (const SelectionRow& row : kSelectionRows) {
    const Tensor ids = select_experts(logits(row, DType::f32), row.K).ids_TK;
    all.push_back({.why = row.why,
                   .inputs = [=](DType dtype) { return Tensors{logits(row, dtype)}; },
                   .op = [=](const Tensors& in) { return router_weights(in[0], ids, rule); },
                   .loops = [=](const Tensors& in) { return plain_weights(in[0], ids, rule); },
                   .terms = row.E,
                   .has_tiny_gradients = row.K == 1,
                   .dtypes = {DType::f64, DType::f32}});
  }
  return all;
}

OP_TABLE_TESTS(SoftmaxWeights, weight_rows(kRules[0]))
OP_TABLE_TESTS(NormalizedSoftmaxWeights, weight_rows(kRules[1]))
OP_TABLE_TESTS(NormalizedSigmoidWeights, weight_rows(kRules[2]))
OP_TABLE_TESTS(SigmoidWeights, weight_rows(kRules[3]))

// Golden G19 of the routing specification: Mixtral's two forms, and the rule without normalisation.
TEST(RouterWeights, GiveThePublishedMixtralNumbers) {
  const Tensor z = tensor_of({1, 3, 0.5, 2}, 4), ids = select_experts(z, 2).ids_TK;
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
  const Tensor z = tensor_of({80, -80, 79, 0}, 4, DType::f32), ids = select_experts(z, 2).ids_TK;
  for (const auto& rule : kRules) {
    for (const double w : router_weights(z, ids, rule).to_vector<double>()) EXPECT_TRUE(std::isfinite(w));
  }
  expect_near(router_weights(z, ids, {}).to_vector<double>(), {0.731058579, 0.268941421}, 1e-6);
}

TEST(RouterWeights, AreNanWhereAnyLogitIsNotFinite) {
  for (const double bad : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    const Tensor z = tensor_of({3, 2, 1, bad, 0, 2, 1, 3}, 4, DType::f32), ids = select_experts(z, 2).ids_TK;
    for (const auto& rule : kRules) {
      const auto w = router_weights(z, ids, rule).to_vector<double>();
      EXPECT_TRUE(std::isnan(w[0]) && std::isnan(w[1]) && std::isfinite(w[2]) && std::isfinite(w[3]));
    }
  }
}

// Exactly none: rounding would be a gradient that depends on the order of sums, and AdamW looks at signs.
TEST(RouterWeights, OneNormalizedChoiceHasWeightScaleAndNoGradient) {
  const Tensor z = random_tensor({5, 6}, DType::f64, "logits"), ids = select_experts(z, 1).ids_TK;
  for (const Score score : {Score::softmax, Score::sigmoid})
    for (const double scale : {1.0, 2.5, 49.0}) {
      const WeightRule rule{score, true, scale};
      EXPECT_EQ(router_weights(z, ids, rule).to_vector<double>(), std::vector<double>(5, scale));
      EXPECT_EQ(gradient(z, {0.1, 2, 0.3, 4, 5}, [&](const Tensor& x) { return router_weights(x, ids, rule); }),
                std::vector<double>(30, 0.0));
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

}  // namespace
}  // namespace switchyard::ops
