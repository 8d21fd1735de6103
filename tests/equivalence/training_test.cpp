// Trainings in every layout against one rank: whole ones as `switchyard verify` compares them, ranks being threads; and
// what only the metrics of a run show, its data, the loss-free bias and the traffic, ranks being processes.
#include "switchyard/train/experiment.h"
#include "switchyard/verify/verify.h"
#include "tests/equivalence/layouts.h"
#include "tests/support/ranks.h"

namespace switchyard::test {
namespace {

using Records = std::vector<Json>;

// What `verify` compares for `layouts` of up to 4 ranks, in f64 and f32; see docs/equivalence.md for bounds.
struct Compared {
  const char* name;
  const char* config;
  int64_t steps;
  Command overrides;
  Command layouts;
  int ranks = 4;
  bool learns = false;  // on the corpus
};
void PrintTo(const Compared& row, std::ostream* out) { *out << row.name; }

// Router logits of order 1. Seeds are those whose choices between experts are far from ties on one rank: about every
// fifth is, over 50 steps.
const Command kSparse{"model.init.std=0.2",        "run.seed=3",
                      "model.moe.num_experts=64",  "model.moe.top_k=1",
                      "train.global_batch_size=8", "train.micro_batch_size=1"};
const Command kDataAndExperts{"dp 2 tp 1 ep 1 etp 1 local zero *", "dp 2 tp 1 ep 2 etp 1 * zero 1",
                              "dp 4 tp 1 ep 1 etp 1 local zero 1", "dp 4 tp 1 ep 2 etp 1 alltoall zero 1",
                              "dp 4 tp 1 ep 4 etp 1 * zero [01]"};
const Command kTensor{"dp 1 tp 2 ep 1 etp 1 local zero *",       "dp 1 tp 2 ep 2 etp 1 alltoall zero 1",
                      "dp 2 tp 1 ep 1 etp 2 local zero 1",       "dp 1 tp 4 ep 2 etp 1 allgather zero 1",
                      "dp 1 tp 4 ep 1 etp 1 local zero 1",       "dp 2 tp 2 ep 2 etp 2 alltoall zero 1",
                      "dp 2 tp 2 ep 4 etp 1 hierarchical zero 1"};
Command balance(const char* kind) {
  return {"model.init.std=0.2", "run.seed=38", fmt::format("model.moe.balance=[{{{}, coefficient: 0.1}}]", kind)};
}

verify::Report report_of(const Compared& row) {
  const auto sources = switchyard::train::read_experiment_sources(config_file(row.config), row.overrides);
  const switchyard::train::ExperimentConfig config =
      switchyard::train::parse_experiment(sources, row.overrides, switchyard::train::without_run_and_data()).config;
  verify::Options options{.steps = row.steps, .is_tiny = false, .only = row.layouts};
  if (row.learns) options.data = corpus().train;
  verify::Report report;
  run_ranks(row.ranks, [&](comm::World& world) {
    verify::Report result = verify::verify(row.config, config, world, options);
    if (world.rank() == 0) report = std::move(result);
  });
  return report;
}

class Trainings : public testing::TestWithParam<Compared> {};

TEST_P(Trainings, AreThoseOfOneRank) {
  const Compared& row = GetParam();
  const verify::Report report = report_of(row);
  ASSERT_EQ(report.parts.size(), 2u) << "f64 and f32";
  for (const verify::Part& part : report.parts) {
    SCOPED_TRACE(verify::heading_of(part));
    EXPECT_GE(part.comparisons.size(), row.layouts.size());
    for (const verify::Comparison& comparison : part.comparisons)
      EXPECT_TRUE(comparison.failures.empty() && !comparison.near_tie) << verify::row_of(comparison);
    EXPECT_GT(part.smallest_margin, 1e-5) << "f32 may turn a choice, and nothing is compared from then on";
    EXPECT_GT(part.parameters, 20);
    if (!row.learns) continue;
    EXPECT_EQ(part.without_gradient, 0);
    EXPECT_LE(part.last_loss, 0.8 * part.first_loss);
  }
}

INSTANTIATE_TEST_SUITE_P(Equivalence, Trainings,
                         testing::Values(Compared{"DataAndExperts", "equivalence", 50, {}, kDataAndExperts, 4, true},
                                         Compared{"Tensor",
                                                  "tensor",
                                                  50,
                                                  {"model.init.std=0.2", "run.seed=40", "train.global_batch_size=8"},
                                                  kTensor,
                                                  4,
                                                  true},
                                         Compared{"ExpertsWithoutTokens",
                                                  "tensor",
                                                  5,
                                                  kSparse,
                                                  {"dp 8 tp 1 ep 8 etp 1 alltoall zero 1", "dp 4 tp 2 ep 8 * zero 0"},
                                                  8}),
                         [](const auto& row) { return std::string(row.param.name); });

// Frequencies of a scope are those of the layout's whole batch, block or sequence, wherever its tokens are.
std::vector<Compared> balance_losses() {
  std::vector<Compared> rows;
  for (const auto& [name, kind] : {std::pair{"SwitchOfTheBatch", "kind: switch, scope: global_batch"},
                                   {"SwitchOfSequences", "kind: switch, scope: sequence"},
                                   {"Sequence", "kind: sequence"},
                                   {"Pooled", "kind: hf_pooled"}}) {
    rows.push_back({name, "equivalence", 4, balance(kind), kDataAndExperts});
    rows.push_back({name, "tensor", 4, balance(kind), kTensor});
  }
  return rows;
}

INSTANTIATE_TEST_SUITE_P(Balance, Trainings, testing::ValuesIn(balance_losses()),
                         [](const auto& row) { return fmt::format("{}_{}", row.param.name, row.param.config); });

void expect_same_data(const Records& run, const Records& one_rank) {
  ASSERT_EQ(run.size(), one_rank.size());
  for (size_t i = 0; i < run.size(); ++i) ASSERT_EQ(run[i].at("data_hash"), one_rank[i].at("data_hash")) << i;
}

class Layouts : public testing::TestWithParam<LayoutRow> {
 protected:
  void train(const Command& overrides) {
    ASSERT_NO_FATAL_FAILURE(run_ = metrics_of(run_of(GetParam(), overrides)));
    one_rank_ = metrics_of(run_of(one_rank_for(GetParam()), overrides));
    ASSERT_FALSE(one_rank_.empty());
    expect_same_data(run_, one_rank_);
  }
  double smallest_margin() const {
    double margin = HUGE_VAL;
    for (const Json& record : one_rank_)
      for (const char* layer : {"1", "2"})
        margin = std::min(margin, record.at(fmt::format("routing/{}/min_margin", layer)).get<double>());
    return margin;
  }
  Records run_, one_rank_;
};

// Biases are sums of functions of the counts, so they agree to the last bit as long as the choices do.
TEST_P(Layouts, MoveTheLossFreeBiasLikeOneRank) {
  for (const auto& [score, dtype, bound] :
       {std::tuple{"softmax", "f32", 1e-5}, {"sigmoid", "f32", 1e-5}, {"softmax", "f64", 1e-10}}) {
    ASSERT_NO_FATAL_FAILURE(
        train({"train.steps=10", "model.moe.balance=[{kind: bias, rate: 0.01}]",
               fmt::format("model.moe.router.score={}", score), fmt::format("train.dtype={}", dtype)}));
    SCOPED_TRACE(fmt::format("{}, {}; smallest margin of a choice on one rank {}", score, dtype, smallest_margin()));
    EXPECT_LE(largest_difference(run_, one_rank_, "loss"), bound);
    EXPECT_NE(one_rank_.back().at("bias/1/max"), one_rank_.front().at("bias/1/max"));
    for (size_t i = 0; i < run_.size(); ++i)
      for (const char* key : {"bias/1/min", "bias/1/max", "bias/2/min", "bias/2/max"})
        EXPECT_EQ(run_[i].at(key), one_rank_[i].at(key)) << key << " of step " << i + 1;
  }
}

// Groups of experts belong to the model: any layout chooses alike, and comes as near to a tie.
TEST_P(Layouts, LimitTokensToGroupsLikeOneRank) {
  for (const char* rule : {"{score: sigmoid, selection_bias: true, groups: {count: 4, keep: 2, score: top2_sum}}",
                           "{groups: {count: 4, keep: 2, score: max}}"}) {
    SCOPED_TRACE(rule);
    ASSERT_NO_FATAL_FAILURE(train({"train.dtype=f64", "train.steps=4", fmt::format("model.moe.router={}", rule)}));
    EXPECT_LE(largest_difference(run_, one_rank_, "loss"), 1e-10);
    for (size_t i = 0; i < run_.size(); ++i)
      for (const char* layer : {"1", "2"}) {
        const std::string counts = fmt::format("load/{}/counts", layer);
        EXPECT_EQ(run_[i].at(counts), one_rank_[i].at(counts)) << counts << " of step " << i + 1;
      }
    for (const char* key : {"routing/1/min_margin", "routing/2/min_margin"})
      EXPECT_LE(largest_difference(run_, one_rank_, key), 1e-7) << key;
  }
}

int64_t bytes_of(const Json& record, const std::string& layer) {
  int64_t sum = 0;
  for (const char* key : {"/bytes_rank", "/bytes_node", "/bytes_network"})
    sum += record.at("routing/" + layer + key).get<int64_t>();
  return sum;
}

// A row per choice moves in every layout. Dispatchers that send other rows are tested with the layer.
TEST_P(Layouts, MoveTheRowsOfOneRank) {
  const std::string words = fmt::format("{}", fmt::join(GetParam().overrides, " "));
  for (const char* word : {"allgather", "hierarchical", "expert_tensor"})
    if (words.find(word) != std::string::npos) GTEST_SKIP() << "moves other rows: " << word;
  ASSERT_NO_FATAL_FAILURE(train({"train.dtype=f64", "train.steps=4", "parallel.dispatcher=alltoall"}));
  for (const char* layer : {"1", "2"})
    for (size_t i = 0; i < run_.size(); ++i) {
      EXPECT_EQ(bytes_of(run_[i], layer), bytes_of(one_rank_[i], layer));
      EXPECT_EQ(bytes_of(one_rank_[i], layer), one_rank_[i].at(fmt::format("routing/{}/bytes_rank", layer)));
      EXPECT_EQ(one_rank_[i].at(fmt::format("routing/{}/ranks_per_token_max", layer)), 1);
    }
}

INSTANTIATE_TEST_SUITE_P(Equivalence, Layouts, testing::ValuesIn(other_layouts()), ByName{});

}  // namespace
}  // namespace switchyard::test
