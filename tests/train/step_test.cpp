// The training step: what it reports, that the split of a batch does not matter, and how it takes gradients that are
// not finite.
#include "tests/support/ranks.h"
#include "tests/train/tiny_experiment.h"

#include <mutex>
#include <numeric>

namespace switchyard::train {
namespace {

using test::Environment;
using test::tiny_batches;
using test::tiny_experiment;

// Steps on `ranks` ranks; every rank's results, and its weights after each step as one list.
struct Outcome {
  std::vector<StepResult> results;
  std::vector<std::vector<double>> weights;  // before the first step, then after each
};

std::vector<Outcome> run(const ExperimentConfig& config, int ranks, int64_t steps) {
  std::vector<Outcome> outcomes(static_cast<size_t>(ranks));
  test::run_ranks(ranks, [&](comm::World& world) {
    Outcome& mine = outcomes[static_cast<size_t>(world.rank())];
    Session session(config, world);
    const auto note_weights = [&] {
      std::vector<double>& all = mine.weights.emplace_back();
      for (const parallel::Bucket& bucket : session.buckets)
        for (const parallel::Segment& segment : bucket.segments)
          for (const double w : segment.parameter->value.detach().to_vector<double>()) all.push_back(w);
    };
    note_weights();
    for (int64_t t = 1; t <= steps; ++t) {
      mine.results.push_back(train_step(session, tiny_batches(config, t, world.rank(), world.size()), t, 0.01));
      note_weights();
    }
  });
  return outcomes;
}

TEST(TrainStep, ReportsSumsOverTheGlobalBatch) {
  ExperimentConfig config = tiny_experiment();
  config.model.moe.balance = {{.scope = moe::BalanceScope::sequence, .coefficient = 0.5},
                              {.kind = moe::BalanceKind::z_loss, .coefficient = 0.25}};
  const Outcome outcome = run(config, 1, 1).at(0);
  const StepResult& result = outcome.results.at(0);
  int64_t loss_tokens = 0;
  for (const data::Batch& batch : tiny_batches(config, 1, 0, 1)) loss_tokens += batch.loss_tokens;
  EXPECT_EQ(result.loss_tokens, loss_tokens);
  EXPECT_EQ(result.routed_tokens, 20);
  EXPECT_NEAR(result.lm_loss, std::log(11.0), 1.5);
  ASSERT_EQ(result.aux.size(), 2U);
  EXPECT_NEAR(result.loss, result.lm_loss + 0.5 * result.aux.at("switch") + 0.25 * result.aux.at("z_loss"), 1e-12);
  ASSERT_EQ(result.expert_counts.size(), 2U);
  for (const auto& counts_E : result.expert_counts)
    EXPECT_EQ(std::accumulate(counts_E.begin(), counts_E.end(), int64_t{0}), 20 * config.model.moe.top_k);
  for (const double margin : result.min_margins) EXPECT_GT(margin, 0);
  EXPECT_GT(result.grad_norm, 0);
  EXPECT_FALSE(outcome.weights.at(1) == outcome.weights.at(0));
}

TEST(TrainStep, ReportsEveryBalanceLossByItself) {
  ExperimentConfig config = tiny_experiment();
  config.model.moe.balance = {{.scope = moe::BalanceScope::sequence, .coefficient = 0.5},
                              {.scope = moe::BalanceScope::micro_batch, .coefficient = 0.125},
                              {.kind = moe::BalanceKind::z_loss, .coefficient = 0.25}};
  const Outcome outcome = run(config, 1, 1).at(0);
  const StepResult& result = outcome.results.at(0);
  ASSERT_EQ(result.aux.size(), 3U);
  EXPECT_NE(result.aux.at("switch.sequence"), result.aux.at("switch.micro_batch"));
  EXPECT_NEAR(result.loss,
              result.lm_loss + 0.5 * result.aux.at("switch.sequence") + 0.125 * result.aux.at("switch.micro_batch") +
                  0.25 * result.aux.at("z_loss"),
              1e-12);
}

TEST(TrainStep, TheSplitIntoMicroBatchesDoesNotMatter) {
  ExperimentConfig config = tiny_experiment();
  config.model.moe.balance = {{.scope = moe::BalanceScope::sequence, .coefficient = 0.5},
                              {.scope = moe::BalanceScope::global_batch, .coefficient = 0.5},
                              {.kind = moe::BalanceKind::z_loss, .coefficient = 0.25},
                              {.kind = moe::BalanceKind::bias, .rate = 0.01}};
  config.train.micro_batch_size = 4;
  const Outcome whole = run(config, 1, 3).at(0);
  for (const int64_t micro : {1, 2})
    for (const auto recompute : {Recompute::none, Recompute::full}) {
      config.train.micro_batch_size = micro;
      config.train.recompute = recompute;
      const Outcome split = run(config, 1, 3).at(0);
      for (size_t t = 0; t < 3; ++t) {
        EXPECT_TRUE(split.results[t].counting_seconds.has_value());
        EXPECT_FALSE(whole.results[t].counting_seconds.has_value()) << "one micro-batch is the whole batch";
        EXPECT_NEAR(split.results[t].loss, whole.results[t].loss, 1e-6) << micro;
        EXPECT_NEAR(split.results[t].grad_norm, whole.results[t].grad_norm, 1e-10 * whole.results[t].grad_norm);
        EXPECT_EQ(split.results[t].expert_counts, whole.results[t].expert_counts);
        EXPECT_LE(test::max_error(split.weights[t + 1], whole.weights[t + 1]), 1e-9);
      }
    }
}

TEST(TrainStep, CountsTokensWithoutFiniteRouterLogits) {
  const ExperimentConfig config = tiny_experiment();
  auto world = comm::World::self();
  Session session(config, world);
  for (nn::Parameter* parameter : session.model.parameters())
    if (parameter->name == "layers.1.moe.router.weight") parameter->value.data<double>()[0] = std::nan("");
  const StepResult result = train_step(session, tiny_batches(config, 1, 0, 1), 1, 0.01);
  EXPECT_FALSE(result.is_finite);
  EXPECT_EQ(result.bad_rows.back(), 20);
  EXPECT_EQ(std::accumulate(result.expert_counts.back().begin(), result.expert_counts.back().end(), int64_t{0}), 0);
}

// A rank whose gradient is not finite: all ranks see it and none changes a weight; the next step goes on.
TEST(TrainStep, OneRankThatIsNotFiniteStopsTheStepOfAll) {
  for (const int64_t zero : {0, 1})
    for (const int64_t expert : {1, 2})
      for (const int rank : {0, 1}) {
        SCOPED_TRACE(fmt::format("zero {} expert {} rank {}", zero, expert, rank));
        ExperimentConfig config = tiny_experiment();
        config.parallel.zero = zero;
        config.parallel.expert = expert;
        const Environment fault("SWITCHYARD_FAULT", fmt::format("nan:2:{}", rank));
        const auto outcomes = run(config, 2, 3);
        for (const Outcome& outcome : outcomes) {
          EXPECT_TRUE(outcome.results[0].is_finite);
          EXPECT_FALSE(outcome.results[1].is_finite);
          EXPECT_TRUE(std::isfinite(outcome.results[1].loss));
          EXPECT_TRUE(outcome.results[2].is_finite);
          EXPECT_TRUE(outcome.weights[2] == outcome.weights[1]);
          EXPECT_FALSE(outcome.weights[3] == outcome.weights[2]);
          EXPECT_EQ(outcome.results[2].loss, outcomes[0].results[2].loss);
        }
      }
}

}  // namespace
}  // namespace switchyard::train
