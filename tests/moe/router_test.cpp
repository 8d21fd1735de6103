// The router module: rules that come from the config, and its precision.      T tokens, D width, E experts, K choices
#include "switchyard/moe/router.h"

#include "switchyard/autograd/graph.h"
#include "switchyard/ops/router.h"
#include "tests/support/compare.h"

#include <gtest/gtest.h>

namespace switchyard::moe {
namespace {

using test::random_tensor;

MoeConfig config_of(int64_t E, int64_t K) {
  MoeConfig config;
  config.num_experts = E;
  config.top_k = K;
  return config;
}

Routing route(const MoeConfig& config, const Tensor& x_TD, const Tensor& w_ED) {
  Router router("layers.3.moe.router", x_TD.dim(1), config, {});
  std::vector<nn::Parameter*> parameters;
  router.parameters(parameters);
  EXPECT_EQ(parameters.at(0)->name, "layers.3.moe.router.weight");
  EXPECT_EQ(parameters.at(0)->global_shape, w_ED.shape());
  parameters[0]->value = w_ED;
  return router.forward(x_TD);
}

TEST(Router, SoftmaxAfterTheSelectionIsOneThatIsNormalized) {
  const Tensor x = random_tensor({9, 5}, DType::f64, "x"), w = random_tensor({7, 5}, DType::f64, "w");
  MoeConfig before = config_of(7, 3), after = before;
  after.router.score_order = ScoreOrder::after;
  after.router.normalize = false;
  EXPECT_TRUE(test::same_bits(route(before, x, w).probs_TK, route(after, x, w).probs_TK));
}

TEST(Router, WeightsOfATokenSumToTheScale) {
  const Tensor x = random_tensor({9, 5}, DType::f64, "x"), w = random_tensor({7, 5}, DType::f64, "w");
  for (const RouterScore score : {RouterScore::softmax, RouterScore::sigmoid}) {
    MoeConfig config = config_of(7, 3);
    config.router.score = score;
    config.router.scale = 2.5;
    const auto probs = route(config, x, w).probs_TK.to_vector<double>();
    for (size_t t = 0; t < 9; ++t) EXPECT_NEAR(probs[3 * t] + probs[3 * t + 1] + probs[3 * t + 2], 2.5, 1e-14);
  }
}

TEST(Router, HasABiasOnlyWhereTheConfigSaysSo) {
  MoeConfig config = config_of(4, 2);
  EXPECT_FALSE(Router("r", 3, config, {}).bias_E().defined());
  config.balance = {{.kind = BalanceKind::bias}};
  Router biased("r", 3, config, {});
  EXPECT_EQ(biased.bias_name(), "r.selection_bias");
  EXPECT_EQ(biased.bias_E().to_vector<double>(), std::vector<double>(4, 0.0));
  EXPECT_EQ(biased.bias_E().dtype(), DType::f32);
}

TEST(Router, LogitsOfBf16TokensAreF32AndChooseAsF32Does) {
  const int64_t T = 2000, D = 64, E = 16, K = 2;
  const Tensor x = random_tensor({T, D}, DType::bf16, "x"), w = random_tensor({E, D}, DType::bf16, "w", 0.1);
  const Routing low = route(config_of(E, K), x, w), high = route(config_of(E, K), x.to(DType::f32), w.to(DType::f32));
  EXPECT_EQ(low.logits_TE.dtype(), DType::f32);
  EXPECT_EQ(low.probs_TK.dtype(), DType::f32);
  const auto a = low.ids_TK.to_vector<int32_t>(), b = high.ids_TK.to_vector<int32_t>();
  int64_t equal = 0;
  for (size_t i = 0; i < a.size(); ++i) equal += a[i] == b[i];
  EXPECT_GT(static_cast<double>(equal), 0.999 * static_cast<double>(a.size()));
}

TEST(Router, EqualRowsOfTheWeightGiveEqualLogits) {
  auto w = random_tensor({4, 37}, DType::f32, "w").to_vector<float>();
  std::copy_n(w.begin(), 37, w.begin() + 2 * 37);
  const Routing routing = route(config_of(4, 1), random_tensor({50, 37}, DType::f32, "x"), Tensor::of(w, {4, 37}));
  const auto z = routing.logits_TE.to_vector<float>();
  for (size_t t = 0; t < 50; ++t) EXPECT_EQ(z[4 * t], z[4 * t + 2]);
  for (const int32_t id : routing.ids_TK.to_vector<int32_t>()) EXPECT_NE(id, 2);  // the smaller index wins
}

}  // namespace
}  // namespace switchyard::moe
