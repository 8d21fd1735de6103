// Whole trainings in every layout against one rank: losses, data, loads, norms. In f64 nothing but the order of sums
// differs. In f32 a choice between two nearly equal experts may fall the other way; then, and only then, the curves
// may part from that step on.
#include "tests/equivalence/layouts.h"

namespace switchyard::test {
namespace {

using Records = std::vector<Json>;

void expect_same_data(const Records& run, const Records& one_rank) {
  ASSERT_EQ(run.size(), one_rank.size());
  for (size_t i = 0; i < run.size(); ++i) ASSERT_EQ(run[i].at("data_hash"), one_rank[i].at("data_hash")) << i;
}

// The counts of the experts decide both numbers of a layer's load, which are printed to the last digit.
void expect_same_loads(const Json& run, const Json& one_rank) {
  int layers = 0;
  for (const auto& [key, value] : one_rank.items()) {
    if (!key.starts_with("load/") || key.ends_with("_rank")) continue;
    EXPECT_EQ(run.at(key), value) << key;
    ++layers;
  }
  EXPECT_EQ(layers, 2 * 2);
}

class Layouts : public testing::TestWithParam<LayoutRow> {
 protected:
  // Both runs, checked for what must agree in any precision.
  void train(const Command& overrides) {
    ASSERT_NO_FATAL_FAILURE(run_ = metrics_of(run_of(GetParam(), overrides)));
    one_rank_ = metrics_of(run_of(kOneRank, overrides));
    ASSERT_FALSE(one_rank_.empty());
    expect_same_data(run_, one_rank_);
    expect_same_loads(run_.front(), one_rank_.front());
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

  if (largest_difference(run_, one_rank_, "loss") <= kBound) return;
  const FlippedChoice flip = first_flipped_choice(run_, one_rank_);
  ASSERT_GT(flip.step, 1) << "losses differ by " << largest_difference(run_, one_rank_, "loss")
                          << ", and no choice has flipped";
  std::printf("step %ld, layer %ld: a choice has flipped, the smallest margin is %.3g\n", flip.step, flip.layer,
              flip.margin);
  EXPECT_LE(flip.margin, 1e-5);
  const auto before = static_cast<std::ptrdiff_t>(flip.step - 1);
  EXPECT_LE(largest_difference({run_.begin(), run_.begin() + before}, {one_rank_.begin(), one_rank_.begin() + before},
                               "loss"),
            kBound);
}

TEST_P(Layouts, TrainLikeOneRankInF64) {
  constexpr double kBound = 1e-10;
  ASSERT_NO_FATAL_FAILURE(train({"train.dtype=f64"}));
  ASSERT_EQ(run_.size(), 50u);
  for (const char* key : {"loss", "lm_loss", "aux/switch", "aux/z_loss"})
    EXPECT_LE(largest_difference(run_, one_rank_, key), kBound) << key;
  EXPECT_LE(largest_difference({run_.front()}, {one_rank_.front()}, "grad_norm"), kBound);
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
  for (const char* scope : {"global_batch", "sequence"}) {
    const std::string entry = fmt::format("{{kind: switch, scope: {}, coefficient: 0.1}}", scope);
    SCOPED_TRACE(entry);
    ASSERT_NO_FATAL_FAILURE(train({"train.dtype=f64", "train.steps=4", fmt::format("model.moe.balance=[{}]", entry)}));
    EXPECT_LE(largest_difference(run_, one_rank_, "loss"), 1e-10);
    EXPECT_LE(largest_difference(run_, one_rank_, "grad_norm"), 1e-10);
  }
}

INSTANTIATE_TEST_SUITE_P(Equivalence, Layouts, testing::ValuesIn(other_layouts()), ByName{});

}  // namespace
}  // namespace switchyard::test
