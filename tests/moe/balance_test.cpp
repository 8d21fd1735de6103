// The selection bias between steps, and the losses of a whole step, against the routing specification's numbers.
#include "switchyard/moe/balance.h"

#include "switchyard/moe/load.h"
#include "switchyard/moe/router.h"
#include "switchyard/ops/elementwise.h"
#include "switchyard/ops/router.h"
#include "tests/moe/layer_support.h"
#include "tests/support/gradcheck.h"

#include <algorithm>

namespace switchyard::moe {
namespace {

using Counts = std::vector<int64_t>;

BalanceConfig bias_config(BiasRule rule, double rate = 1e-3) {
  return {.kind = BalanceKind::bias, .rate = rate, .rule = rule};
}

std::vector<double> updated(std::vector<float> bias, const Counts& counts, const BalanceConfig& config,
                            RouterScore score = RouterScore::sigmoid) {
  Tensor bias_E = Tensor::of(bias, {static_cast<int64_t>(bias.size())});
  update_selection_bias(config, score, counts, bias_E);
  return bias_E.to_vector<double>();
}

void expect_near(const std::vector<double>& got, const std::vector<double>& expected, double bound = 1e-8) {
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], bound) << "expert " << i;
}

// Golden G6: the counts of two ranks and two micro-batches, summed before the one update of the step.
const std::vector<float> kBias{0.010f, -0.020f, 0, 0.005f};
const Counts kCounts{10, 8, 8, 6};

TEST(SelectionBias, SignRuleGivesThePublishedNumbers) {
  expect_near(updated(kBias, kCounts, bias_config(BiasRule::sign)), {0.009, -0.02, 0, 0.006});
}

TEST(SelectionBias, ProportionalRuleGivesThePublishedNumbers) {
  // Published per token of error; ours is relative to the mean, 8.
  expect_near(updated(kBias, kCounts, bias_config(BiasRule::proportional, 8e-3)), {0.008, -0.02, 0, 0.007});
}

TEST(SelectionBias, AutomaticRuleFollowsTheScore) {
  for (const auto& [score, rule] :
       {std::pair{RouterScore::sigmoid, BiasRule::sign}, std::pair{RouterScore::softmax, BiasRule::proportional}})
    EXPECT_EQ(updated(kBias, kCounts, bias_config(BiasRule::automatic), score),
              updated(kBias, kCounts, bias_config(rule), score));
}

TEST(SelectionBias, StaysBitIdenticalWithoutTokensOrRate) {
  const auto before = updated(kBias, {0, 0, 0, 0}, bias_config(BiasRule::sign));
  EXPECT_EQ(before, (std::vector<double>(kBias.begin(), kBias.end())));
  for (const BiasRule rule : {BiasRule::sign, BiasRule::proportional})
    EXPECT_EQ(updated(kBias, kCounts, bias_config(rule, 0)), before);
}

TEST(SelectionBias, SignIsExactWhereTheMeanIsNoInteger) {
  expect_near(updated({0, 0, 0}, {3, 3, 4}, bias_config(BiasRule::sign)), {0.001, 0.001, -0.001});
}

// Logits that favour some experts for every token.
Tensor skewed_logits(int64_t T, int64_t E, std::string_view name) {
  auto z = test::random_tensor({T, E}, DType::f32, name).to_vector<float>();
  for (size_t i = 0; i < z.size(); ++i) z[i] += 0.1f * static_cast<float>(i % static_cast<size_t>(E));
  return Tensor::of(z, {T, E});
}

TEST(SelectionBias, EvensOutASkewedRouter) {
  const int64_t T = 600, E = 16, K = 2;
  const test::Threads one(1);
  for (const RouterScore score : {RouterScore::sigmoid, RouterScore::softmax}) {
    const Tensor logits = skewed_logits(T, E, "skew");
    Tensor bias_E = Tensor::zeros({E}, DType::f32);
    EXPECT_GT(load_of(ops::select_experts(logits, K, bias_E, score).counts_E.to_vector<int64_t>()).max_over_mean, 1.5);
    for (int step = 0; step < 1000; ++step) {
      const auto counts = ops::select_experts(logits, K, bias_E, score).counts_E.to_vector<int64_t>();
      update_selection_bias(bias_config(BiasRule::automatic), score, counts, bias_E);
    }
    EXPECT_LT(load_of(ops::select_experts(logits, K, bias_E, score).counts_E.to_vector<int64_t>()).max_over_mean, 1.1);
  }
}

MoeConfig biased_config() {
  MoeConfig config = test::busy_config();
  config.router.score = RouterScore::sigmoid;
  config.balance = {bias_config(BiasRule::automatic, 0.5)};
  return config;
}

TEST(SelectionBias, ChangesTheChoiceButNotTheWeights) {
  Router router("router", 4, biased_config(), {});
  nn::Parameters parameters;
  router.parameters(parameters);
  parameters[0]->value = test::random_tensor({8, 4}, DType::f64, "w");
  const Tensor x = test::random_tensor({30, 4}, DType::f64, "x");
  const std::vector<size_t> chosen{2, 5, 7};
  for (const size_t e : chosen) router.bias_E().data<float>()[e] = 10;
  const Routing routing = router.forward(x);
  const auto z = routing.logits_TE.to_vector<double>(), probs = routing.probs_TK.to_vector<double>();
  for (size_t t = 0; t < 30; ++t) {
    double sum = 0;
    for (const size_t e : chosen) sum += 1 / (1 + std::exp(-z[t * 8 + e]));
    for (size_t i = 0; i < 3; ++i)
      EXPECT_NEAR(probs[t * 3 + i], 1.5 / (1 + std::exp(-z[t * 8 + chosen[i]])) / sum, 1e-14);
  }
}

TEST(SelectionBias, FollowsTheCountsOfAllRanksOnce) {
  std::mutex mutex;
  std::vector<std::vector<double>> biases;
  for (const int ranks : {1, 2, 4}) {
    test::run_ranks(ranks, [&](comm::World& world) {
      test::TrainedLayer trained(world, {}, biased_config(), 5);
      const Tensor x = test::random_tensor({24, 5}, DType::f64, "x");
      Losses losses;
      trained.layer.begin_step({3, 8, 4});
      for (int64_t j = world.rank(); j < 4; j += world.size()) trained.forward(x.slice(0, 6 * j, 6 * j + 6), losses);
      trained.layer.end_step();
      EXPECT_TRUE(losses.terms().empty());
      Counts counts = trained.layer.stats().counts_E;
      world.all().all_reduce(counts.data(), 8, DType::i64).wait();
      trained.layer.update_bias(counts);
      const std::lock_guard lock(mutex);
      biases.push_back(trained.layer.router().bias_E().to_vector<double>());
    });
  }
  for (const auto& bias : biases) EXPECT_EQ(bias, biases[0]);
  EXPECT_GT(*std::max_element(biases[0].begin(), biases[0].end()), 0.4);
}

// Golden G11: two ranks x two micro-batches of two tokens, E = 2, k = 1; the numbers are probabilities of expert 0.
double step_loss(BalanceScope scope, int ranks) {
  MoeConfig config;
  config.num_experts = 2;
  config.top_k = 1;
  config.intermediate_size = 1;
  config.shared.num_experts = 0;
  config.balance = {{.scope = scope, .coefficient = 1}};
  // Published by rank; a micro-batch of the step is block 2 step + rank here.
  const std::vector<double> probabilities{.9, .8, .3, .6, .7, .4, .2, .9};
  std::vector<double> x;
  for (const double p : probabilities) x.insert(x.end(), {std::log(p), std::log(1 - p)});
  const Tensor x_TD = Tensor::of(x, {8, 2});
  double sum = 0;
  std::mutex mutex;
  test::run_ranks(ranks, [&](comm::World& world) {
    test::TrainedLayer trained(world, {}, config, 2);
    trained.parameters[0]->value.copy_from(Tensor::of(std::vector<double>{1, 0, 0, 1}, {2, 2}));
    MoeLayer& layer = trained.layer;
    auto pass = [&] {
      Losses losses;
      for (int64_t j = world.rank(); j < 4; j += world.size()) trained.forward(x_TD.slice(0, 2 * j, 2 * j + 2), losses);
      return losses;
    };
    layer.begin_step({2, 4, 4});
    if (ranks < 4) {
      layer.begin_count();
      pass();
      layer.end_count();
    }
    const Losses losses = pass();
    const std::lock_guard lock(mutex);
    for (const auto& term : losses.terms()) sum += term.value.item();
  });
  return sum;
}

TEST(BalanceScope, GivesThePublishedNumbersInEveryLayout) {
  for (const int ranks : {1, 2, 4}) {
    EXPECT_NEAR(step_loss(BalanceScope::micro_batch, ranks), 1.175, 1e-12);
    EXPECT_NEAR(step_loss(BalanceScope::sequence, ranks), 1.175, 1e-12);  // sequences of two tokens
    EXPECT_NEAR(step_loss(BalanceScope::global_batch, ranks), 1.05, 1e-12);
  }
}

std::vector<double> losses_of(const std::vector<BalanceConfig>& balance, int64_t micro_batch) {
  test::LayerCase c{.config = test::busy_config(), .micro_batch = micro_batch};
  c.config.balance = balance;
  return test::run_step(c, 1, 1, parallel::DispatcherKind::local).losses;
}

TEST(BalanceScope, OnlyMicroBatchDependsOnTheSizeOfAMicroBatch) {
  const BalanceConfig sequence{.scope = BalanceScope::sequence, .coefficient = 1},
      global{.scope = BalanceScope::global_batch, .coefficient = 1},
      micro{.scope = BalanceScope::micro_batch, .coefficient = 1}, z{.kind = BalanceKind::z_loss, .coefficient = 1};
  const auto expected = losses_of({sequence, global, z}, 1);
  for (const int64_t micro_batch : {2, 4, 8})
    EXPECT_LE(test::max_error(losses_of({sequence, global, z}, micro_batch), expected), 1e-14);
  EXPECT_NEAR(losses_of({micro}, 1)[0], expected[0], 1e-14);  // one sequence
  EXPECT_NEAR(losses_of({micro}, 8)[0], expected[1], 1e-14);  // the global batch
  EXPECT_GT(std::abs(losses_of({micro}, 2)[0] - expected[0]), 1e-3);
}

// ---- kind sequence: V3 ----

// A layer whose logits are the tokens themselves.
class LogitLayer {
 public:
  LogitLayer(const MoeConfig& config) : trained_(world_, {}, config, config.num_experts) {
    const int64_t E = config.num_experts;
    std::vector<double> identity(static_cast<size_t>(E * E));
    for (int64_t e = 0; e < E; ++e) identity[static_cast<size_t>(e * E + e)] = 1;
    trained_.parameters[0]->value.copy_from(Tensor::of(identity, {E, E}));
  }
  MoeLayer& layer() { return trained_.layer; }
  // Of tokens (T, E) in sequences of `rows`, as one micro-batch of a step.
  Losses losses(const Tensor& logits_TE, int64_t rows) {
    layer().begin_step({rows, logits_TE.dim(0) / rows, 1});
    Losses losses;
    trained_.forward(logits_TE, losses, rows);
    return losses;
  }

 private:
  comm::World world_ = comm::World::self();
  test::TrainedLayer trained_;
};

MoeConfig config_of_losses(int64_t E, int64_t K, const std::vector<BalanceConfig>& balance) {
  MoeConfig config;
  config.num_experts = E;
  config.top_k = K;
  config.intermediate_size = 1;
  config.shared.num_experts = 0;
  config.balance = balance;
  return config;
}

// Golden G5: two sequences of four tokens; the bias in force must not be used.
const std::vector<double> kLogits5{1.2, .3, -.5, .1, .9, .8,  -1, .2,  1.5, -.2, .4,  0,  .7, .6, .5, -.9,
                                   -.3, .2, 1.1, 1,  .1, -.6, .9, 1.4, -.8, .5,  1.3, .4, 0,  .3, .6, 1.7};

LogitLayer layer_of_golden5(const BalanceConfig& balance) {
  MoeConfig config = config_of_losses(4, 2, {balance});
  config.router.score = RouterScore::sigmoid;
  config.router.selection_bias = true;
  return LogitLayer(config);
}
Tensor bias5() { return Tensor::of(std::vector<float>{-.30f, .10f, 0, .15f}, {4}); }

TEST(SequenceLoss, GivesThePublishedNumbers) {
  LogitLayer layer = layer_of_golden5({.kind = BalanceKind::sequence, .coefficient = 1});
  layer.layer().router().bias_E().copy_from(bias5());
  Tensor z = Tensor::of(kLogits5, {8, 4});
  const auto leaf = autograd::make_leaf(z);
  const Losses losses = layer.losses(z, 4);
  ASSERT_EQ(losses.terms().size(), 1u);
  EXPECT_NEAR(losses.terms()[0].value.item(), 1.156042416, 1e-9);
  autograd::backward(losses.terms()[0].value);
  expect_near(
      leaf->grad.to_vector<double>(),
      {0.008394638,  0.004731556,  -0.00853344, -0.015996361, 0.009635005,  0.004006237,  -0.007389718, -0.0162723,
       0.007068214,  0.005192894,  -0.00765044, -0.014563338, 0.010267115,  0.004169076,  -0.008917945, -0.013569909,
       -0.014541031, -0.008425993, 0.007921894, 0.003310732,  -0.015261548, -0.008024643, 0.008897379,  0.002725001,
       -0.013850831, -0.008877591, 0.007261563, 0.00388562,   -0.013515223, -0.007260519, 0.009924872,  0.002484183},
      1e-9);
}

TEST(SequenceLoss, WrongRulesGiveThePublishedOtherNumbers) {
  LogitLayer biased = layer_of_golden5({.scope = BalanceScope::sequence, .coefficient = 1});
  biased.layer().router().bias_E().copy_from(bias5());
  EXPECT_NEAR(biased.losses(Tensor::of(kLogits5, {8, 4}), 4).terms()[0].value.item(), 1.036311788, 1e-9);
  LogitLayer whole = layer_of_golden5({.kind = BalanceKind::sequence, .coefficient = 1});
  EXPECT_NEAR(whole.losses(Tensor::of(kLogits5, {8, 4}), 8).terms()[0].value.item(), 0.999120863, 1e-9);
}

// Sequences of `rows` tokens of random logits, as the definition has it: raw scores, no bias, no groups.
double plain_sequence_loss(const std::vector<double>& z, size_t E, size_t K, size_t rows, RouterScore score) {
  const size_t T = z.size() / E;
  double loss = 0;
  for (size_t first = 0; first < T; first += rows) {
    std::vector<double> counts(E), means(E);
    for (size_t t = first; t < first + rows; ++t) {
      std::vector<double> s;
      double sum = 0;
      for (size_t e = 0; e < E; ++e) {
        s.push_back(score == RouterScore::sigmoid ? 1 / (1 + std::exp(-z[t * E + e])) : std::exp(z[t * E + e]));
        sum += s[e];
      }
      for (size_t e = 0; e < E; ++e) {
        const auto larger = std::count_if(s.begin(), s.end(), [&](double other) { return other > s[e]; });
        counts[e] += larger < static_cast<long>(K);
        means[e] += s[e] / sum / static_cast<double>(rows);
      }
    }
    for (size_t e = 0; e < E; ++e)
      loss += static_cast<double>(E) / static_cast<double>(K * rows) * counts[e] * means[e];
  }
  const int64_t blocks = T / rows;
  return loss / static_cast<double>(blocks);
}

MoeConfig limited_config(RouterScore score) {
  MoeConfig config = config_of_losses(8, 2, {{.kind = BalanceKind::sequence, .coefficient = 1}});
  config.router.score = score;
  config.router.selection_bias = true;
  config.router.groups = {.count = 4, .keep = 2, .score = GroupScore::top2_sum};
  return config;
}

TEST(SequenceLoss, MatchesPlainLoopsWhateverLimitsTheSelection) {
  const Tensor z = test::random_tensor({12, 8}, DType::f64, "logits");
  for (const RouterScore score : {RouterScore::softmax, RouterScore::sigmoid}) {
    LogitLayer layer(limited_config(score));
    layer.layer().router().bias_E().copy_from(test::random_tensor({8}, DType::f32, "bias"));
    for (const size_t rows : {size_t{3}, size_t{12}})
      EXPECT_NEAR(layer.losses(z, static_cast<int64_t>(rows)).terms()[0].value.item(),
                  plain_sequence_loss(z.to_vector<double>(), 8, 2, rows, score), 1e-14);
  }
}

TEST(SequenceLoss, GradientMatchesFiniteDifferences) {
  for (const RouterScore score : {RouterScore::softmax, RouterScore::sigmoid}) {
    LogitLayer layer(limited_config(score));
    test::check_gradients([&](const Tensors& in) { return layer.losses(in[0], 3).terms()[0].value; },
                          {test::random_tensor({12, 8}, DType::f64, "logits")});
  }
}

// ---- kind hf_pooled ----

// The sum of the terms of two layers that see these tokens.
Tensor pooled_loss(LogitLayer& layer, const Tensors& logits) {
  Losses losses;
  for (const Tensor& z : logits) losses.append(layer.losses(z, z.dim(0)));
  EXPECT_TRUE(losses.terms().empty());  // nothing before all layers have run
  losses.pool();
  EXPECT_EQ(losses.terms().size(), logits.size());
  Tensors values;
  for (const auto& term : losses.terms()) values.push_back(term.value);
  return ops::weighted_sum(values, std::vector<double>(values.size(), 1.0));
}

LogitLayer pooling_layer(int64_t E, int64_t K) {
  return LogitLayer(config_of_losses(E, K, {{.kind = BalanceKind::hf_pooled, .coefficient = 1}}));
}

// Golden G3: the second layer has the logits of the first, one expert further on.
TEST(PooledLoss, GivesThePublishedNumbers) {
  const Tensor a = Tensor::of(std::vector<double>{2, 1, 0, 0.5, 1.5, -0.5, 1, 0, 0.2, 3, -1, 1}, {4, 3});
  const Tensor b = Tensor::of(std::vector<double>{0, 2, 1, -0.5, 0.5, 1.5, 0.2, 1, 0, 1, 3, -1}, {4, 3});
  LogitLayer layer = pooling_layer(3, 2);
  EXPECT_NEAR(pooled_loss(layer, {a}).item(), 2.372654015, 1e-9);
  EXPECT_NEAR(pooled_loss(layer, {b}).item(), 2.372654015, 1e-9);
  EXPECT_NEAR(pooled_loss(layer, {a, b}).item(), 2.093163504, 1e-9);
}

TEST(PooledLoss, MatchesPlainLoops) {
  const size_t E = 6, K = 2, T = 10, L = 3;
  Tensors logits;
  std::vector<double> f(E), P(E);
  for (size_t l = 0; l < L; ++l) {
    logits.push_back(test::random_tensor({static_cast<int64_t>(T), static_cast<int64_t>(E)}, DType::f64,
                                         fmt::format("logits {}", l)));
    const auto z = logits.back().to_vector<double>();
    for (size_t t = 0; t < T; ++t) {
      double sum = 0;
      for (size_t e = 0; e < E; ++e) sum += std::exp(z[t * E + e]);
      for (size_t e = 0; e < E; ++e) {
        P[e] += std::exp(z[t * E + e]) / sum / static_cast<double>(L * T);
        const auto larger = std::count_if(&z[t * E], &z[t * E] + E, [&](double other) { return other > z[t * E + e]; });
        f[e] += (larger < static_cast<long>(K)) / static_cast<double>(L * T);
      }
    }
  }
  double expected = 0;
  for (size_t e = 0; e < E; ++e) expected += static_cast<double>(E) * f[e] * P[e];
  LogitLayer layer = pooling_layer(6, 2);
  EXPECT_NEAR(pooled_loss(layer, logits).item(), expected, 1e-14);
}

TEST(PooledLoss, GradientMatchesFiniteDifferencesInEveryLayer) {
  LogitLayer layer = pooling_layer(6, 2);
  test::check_gradients([&](const Tensors& in) { return pooled_loss(layer, in); },
                        {test::random_tensor({10, 6}, DType::f64, "a"), test::random_tensor({10, 6}, DType::f64, "b")});
}

TEST(BalanceScope, GlobalBatchRefusesSeveralMicroBatchesThatWereNotCounted) {
  comm::World world = comm::World::self();
  test::TrainedLayer trained(world, {}, test::busy_config(), 5);
  trained.layer.begin_step({3, 8, 4});
  Losses losses;
  EXPECT_THROW(trained.forward(test::random_tensor({6, 5}, DType::f64, "x"), losses), Error);
}

}  // namespace
}  // namespace switchyard::moe
