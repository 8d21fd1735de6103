// Whole trainings in every layout against one rank: losses, data, loads, norms. In f64 nothing but the order of sums
// differs. In f32 a choice between two nearly equal experts may fall the other way; then, and only then, the curves
// may part from that step on.
#include "tests/equivalence/layouts.h"

namespace switchyard::test {
namespace {

using Records = std::vector<Json>;

constexpr double kBoundF64 = 1e-10;

void expect_same_data(const Records& run, const Records& one_rank) {
  ASSERT_EQ(run.size(), one_rank.size());
  for (size_t i = 0; i < run.size(); ++i) ASSERT_EQ(run[i].at("data_hash"), one_rank[i].at("data_hash")) << i;
}

void expect_same_counts(const Json& run, const Json& one_rank) {
  for (const char* key : {"load/1/counts", "load/2/counts"}) {
    EXPECT_EQ(run.at(key), one_rank.at(key)) << key;
    EXPECT_EQ(one_rank.at(key).size(), 8u);
  }
}

// Steps `first` to `last` of a run.
Records steps(const Records& run, int64_t first, int64_t last) { return {run.begin() + first - 1, run.begin() + last}; }

TEST(FlippedChoice, IsTheFirstWithOtherCountsAndHasTheSmallerMargin) {
  const auto record = [](int64_t step, const Json& counts, double margin) {
    return Json{{"step", step},
                {"load/1/counts", {3, 3}},
                {"load/2/counts", counts},
                {"load/2/max_over_mean", 1.5},
                {"routing/1/min_margin", 0.5},
                {"routing/2/min_margin", margin}};
  };
  const Records a{record(1, {1, 3}, 0.1), record(2, {1, 3}, 0.25), record(3, {1, 3}, 0.1)};
  const Records b{record(1, {1, 3}, 0.2), record(2, {3, 1}, 0.125), record(3, {2, 2}, 0.1)};
  const FlippedChoice flip = first_flipped_choice(a, b);
  EXPECT_EQ(flip.step, 2);
  EXPECT_EQ(flip.layer, 2);
  EXPECT_EQ(flip.margin, 0.125);
  EXPECT_EQ(first_flipped_choice(a, a).step, 0);
}

class Layouts : public testing::TestWithParam<LayoutRow> {
 protected:
  // Both runs, checked for what must agree in any precision.
  void train(const Command& overrides) {
    ASSERT_NO_FATAL_FAILURE(run_ = metrics_of(run_of(GetParam(), overrides)));
    one_rank_ = metrics_of(run_of(one_rank_for(GetParam()), overrides));
    ASSERT_FALSE(one_rank_.empty());
    expect_same_data(run_, one_rank_);
    expect_same_counts(run_.front(), one_rank_.front());
  }

  // Losses in f32 have parted: then f64 has not, and up to a choice between near equals neither had f32.
  void expect_parted_at_a_flipped_choice(double bound) {
    const FlippedChoice flip = first_flipped_choice(run_, one_rank_);
    const double apart = largest_difference(run_, one_rank_, "loss");
    const Records f32 = run_, f32_one_rank = one_rank_;
    ASSERT_NO_FATAL_FAILURE(train({"train.dtype=f64"}));
    ASSERT_LE(largest_difference(run_, one_rank_, "loss"), kBoundF64) << "f32 differs by " << apart;
    ASSERT_GT(flip.step, 1) << "losses differ by " << apart << ", and no choice has flipped";
    std::printf("step %ld, layer %ld: a choice has flipped, the smallest margin is %.3g\n", flip.step, flip.layer,
                flip.margin);
    EXPECT_LE(flip.margin, 1e-5);
    EXPECT_LE(largest_difference(steps(f32, 1, flip.step - 1), steps(f32_one_rank, 1, flip.step - 1), "loss"), bound);
  }
  Records run_, one_rank_;
};

TEST_P(Layouts, TrainLikeOneRankInF32) {
  constexpr double kBound = 1e-5;
  ASSERT_NO_FATAL_FAILURE(train({"train.dtype=f32"}));
  ASSERT_EQ(run_.size(), 50u);
  for (const Records& records : {run_, one_rank_})
    EXPECT_LE(records.back().at("loss").get<double>(), 0.8 * records.front().at("loss").get<double>());
  EXPECT_LE(largest_difference({run_.front()}, {one_rank_.front()}, "grad_norm"), kBound);
  if (largest_difference(run_, one_rank_, "loss") > kBound) expect_parted_at_a_flipped_choice(kBound);
}

TEST_P(Layouts, TrainLikeOneRankInF64) {
  ASSERT_NO_FATAL_FAILURE(train({"train.dtype=f64"}));
  ASSERT_EQ(run_.size(), 50u);
  for (const char* key : {"loss", "lm_loss", "aux/switch", "aux/z_loss"})
    EXPECT_LE(largest_difference(run_, one_rank_, key), kBoundF64) << key;
  EXPECT_LE(largest_difference({run_.front()}, {one_rank_.front()}, "grad_norm"), kBoundF64);
  EXPECT_EQ(first_flipped_choice(run_, one_rank_).step, 0);
}

// Biases are sums of functions of the counts, so they agree to the last bit as long as the choices do.
TEST_P(Layouts, MoveTheLossFreeBiasLikeOneRank) {
  for (const char* score : {"softmax", "sigmoid"}) {
    SCOPED_TRACE(score);
    ASSERT_NO_FATAL_FAILURE(train({"train.steps=10", "model.moe.balance=[{kind: bias, rate: 0.01}]",
                                   fmt::format("model.moe.router.score={}", score)}));
    EXPECT_LE(largest_difference(run_, one_rank_, "loss"), 1e-5);
    EXPECT_NE(one_rank_.back().at("bias/1/max"), one_rank_.front().at("bias/1/max"));
    for (size_t i = 0; i < run_.size(); ++i)
      for (const char* key : {"bias/1/min", "bias/1/max", "bias/2/min", "bias/2/max"})
        EXPECT_EQ(run_[i].at(key), one_rank_[i].at(key)) << key << " of step " << i + 1;
  }
}

// Frequencies of a scope are those of the layout's whole batch, block or sequence, wherever its tokens are.
TEST_P(Layouts, TakeBalanceLossesOfEveryScopeLikeOneRank) {
  for (const char* kind :
       {"kind: switch, scope: global_batch", "kind: switch, scope: sequence", "kind: sequence", "kind: hf_pooled"}) {
    SCOPED_TRACE(kind);
    ASSERT_NO_FATAL_FAILURE(
        train({"train.dtype=f64", "train.steps=4", fmt::format("model.moe.balance=[{{{}, coefficient: 0.1}}]", kind)}));
    EXPECT_LE(largest_difference(run_, one_rank_, "loss"), kBoundF64);
    EXPECT_LE(largest_difference(run_, one_rank_, "grad_norm"), kBoundF64);
  }
}

// Groups of experts belong to the model: any layout chooses alike, and comes as near to a tie.
TEST_P(Layouts, LimitTokensToGroupsLikeOneRank) {
  for (const char* rule : {"{score: sigmoid, selection_bias: true, groups: {count: 4, keep: 2, score: top2_sum}}",
                           "{groups: {count: 4, keep: 2, score: max}}"}) {
    SCOPED_TRACE(rule);
    ASSERT_NO_FATAL_FAILURE(train({"train.dtype=f64", "train.steps=4", fmt::format("model.moe.router={}", rule)}));
    EXPECT_LE(largest_difference(run_, one_rank_, "loss"), kBoundF64);
    EXPECT_EQ(first_flipped_choice(run_, one_rank_).step, 0);
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
