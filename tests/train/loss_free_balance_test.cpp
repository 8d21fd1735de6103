// The loss-free bias evens out a router that sends most tokens to two experts, in training steps on one rank and on
// data 2 x expert 2 alike; at rate 0 it does nothing.      MaxVio: most loaded expert over the mean, minus 1
#include "switchyard/moe/load.h"
#include "tests/support/ranks.h"
#include "tests/train/tiny_experiment.h"

namespace switchyard::train {
namespace {

using Counts = std::vector<int64_t>;

constexpr int64_t kSteps = 300, kWindow = 20, kExperts = 16;

ExperimentConfig skewed_experiment() {
  ExperimentConfig c = test::tiny_experiment();
  c.train.global_batch_size = 16;
  c.train.micro_batch_size = 8;
  c.data.sequence_length = 32;
  model::ModelConfig& m = c.model;
  m.vocab_size = 512;
  m.hidden_size = 16;
  m.num_layers = 1;
  m.max_position = 32;
  m.norm.kind = nn::NormKind::layer;
  m.moe.layers = moe::LayerPattern{};
  m.moe.num_experts = kExperts;
  m.moe.top_k = 2;
  m.moe.shared.num_experts = 0;
  m.moe.router.score = moe::RouterScore::sigmoid;
  return c;
}

// The router's input has 1 in its first place, and the logits of the first two experts are 1.2 above the others there;
// what the rest of the input adds is a third of that.
void skew_router(Session& session) {
  for (nn::Parameter* p : session.model.parameters()) {
    auto values = p->value.detach().to_vector<double>();
    if (p->name == "layers.0.ffn_norm.weight") values[0] = 0;
    if (p->name == "layers.0.ffn_norm.bias") values[0] = 1;
    if (p->name == "layers.0.moe.router.weight")
      for (size_t i = 0; i < values.size(); ++i) values[i] = i % 16 != 0 ? values[i] / 3 : i < 2 * 16 ? 1.2 : 0;
    p->value.copy_from(Tensor::of(values, p->value.shape()));
    p->value.bump_version();
  }
}

struct Outcome {
  std::vector<Counts> counts;  // of the layer, by step
  std::vector<double> losses, norms, bias;
};

Outcome steps_of(const ExperimentConfig& config, int ranks, int64_t steps) {
  Outcome outcome;
  test::run_ranks(ranks, [&](comm::World& world) {
    Session session(config, world);
    skew_router(session);
    for (int64_t t = 1; t <= steps; ++t) {
      const auto batches = test::tiny_batches(config, t, world.rank(), world.size());
      const StepResult result = train_step(session, batches, t, 1e-4);
      if (world.rank() != 0) continue;
      outcome.counts.push_back(result.expert_counts.at(0));
      outcome.losses.push_back(result.loss);
      outcome.norms.push_back(result.grad_norm);
    }
    const Tensor& bias_E = session.model.moe_layers().at(0)->router().bias_E();
    if (world.rank() == 0 && bias_E.defined()) outcome.bias = bias_E.to_vector<double>();
  });
  return outcome;
}

// Of the counts of `kWindow` steps, the first of which is step first + 1.
double max_vio(const std::vector<Counts>& counts, int64_t first) {
  Counts sum(kExperts, 0);
  for (int64_t i = first; i < first + kWindow; ++i)
    for (size_t e = 0; e < sum.size(); ++e) sum[e] += counts.at(static_cast<size_t>(i)).at(e);
  return moe::load_of(sum).max_over_mean - 1;
}

TEST(LossFreeBias, EvensOutASkewedRouterInEveryLayout) {
  ExperimentConfig config = skewed_experiment();
  config.model.moe.balance = {{.kind = moe::BalanceKind::bias, .rate = 1e-3}};
  const Outcome one = steps_of(config, 1, kSteps);
  EXPECT_GT(max_vio(one.counts, 0), 3);
  EXPECT_LT(max_vio(one.counts, kSteps - kWindow), 0.1);
  std::printf("MaxVio of %ld steps:", kWindow);
  for (int64_t first = 0; first < kSteps; first += 40)
    std::printf(" %.2f (%ld)", max_vio(one.counts, first), first + kWindow);
  std::printf("\n");

  config.parallel.expert = 2;
  const Outcome two = steps_of(config, 2, kSteps);
  EXPECT_EQ(two.counts, one.counts);
  EXPECT_EQ(two.bias, one.bias);
  EXPECT_LE(test::max_error(two.losses, one.losses), 1e-12);
}

TEST(LossFreeBias, DoesNothingAtRateZero) {
  ExperimentConfig without = skewed_experiment(), with = without;
  with.model.moe.balance = {{.kind = moe::BalanceKind::bias, .rate = 0}};
  for (const int ranks : {1, 2}) {
    without.parallel.expert = with.parallel.expert = ranks;
    const Outcome a = steps_of(with, ranks, 2 * kWindow), b = steps_of(without, ranks, 2 * kWindow);
    EXPECT_GT(max_vio(a.counts, kWindow), 3);
    EXPECT_EQ(a.counts, b.counts);
    EXPECT_EQ(a.losses, b.losses);
    EXPECT_EQ(a.norms, b.norms);
    EXPECT_EQ(a.bias, std::vector<double>(kExperts, 0.0));
  }
}

}  // namespace
}  // namespace switchyard::train
