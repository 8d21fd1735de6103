// What must not change a bit: running again, recomputing, and where the optimizer's state lies.
#include "tests/equivalence/layouts.h"

namespace switchyard::test {
namespace {

constexpr const char* kSteps = "train.steps=8";
constexpr const char* kSave = "checkpoint.every=8";

class Repetition : public testing::TestWithParam<LayoutRow> {
 protected:
  static void expect_same(const Command& a, const Command& b) {
    const std::string run_a = run_of(GetParam(), a), run_b = run_of(GetParam(), b);
    expect_same_metrics(run_a, run_b);
    expect_same_checkpoint(checkpoint_of(run_a, 8), checkpoint_of(run_b, 8));
  }
};

TEST_P(Repetition, OfARunGivesTheSameBits) {
  expect_same({kSteps, kSave}, {kSave, kSteps});  // another order of words: another run
  const char* bf16 = "train.dtype=bf16";
  expect_same({kSteps, kSave, bf16}, {bf16, kSave, kSteps});
}

TEST_P(Repetition, WithRecomputeGivesTheSameBits) {
  for (const char* recompute : {"train.recompute=moe", "train.recompute=full"}) {
    SCOPED_TRACE(recompute);
    expect_same({kSteps, kSave}, {kSteps, kSave, recompute});
  }
}

// What layers hand to a loss over all of them leaves the region that is recomputed.
TEST_P(Repetition, OfEveryBalanceLossWithRecomputeGivesTheSameBits) {
  const char* balance =
      "model.moe.balance=[{kind: hf_pooled, coefficient: 0.1}, {kind: sequence, coefficient: 0.1}, {kind: bias}]";
  const char* router = "model.moe.router={score: sigmoid, groups: {count: 4, keep: 2, score: top2_sum}}";
  for (const char* recompute : {"train.recompute=moe", "train.recompute=full"}) {
    SCOPED_TRACE(recompute);
    expect_same({kSteps, kSave, balance, router}, {kSteps, kSave, balance, router, recompute});
  }
}

TEST_P(Repetition, WithoutZeroGivesTheSameBits) { expect_same({kSteps, kSave}, {kSteps, kSave, "parallel.zero=0"}); }

std::vector<LayoutRow> some_layouts() {
  const auto& others = other_layouts();
  return {one_rank_for(others.at(0)), others.at(1), others.at(2), others.back()};
}
INSTANTIATE_TEST_SUITE_P(Equivalence, Repetition, testing::ValuesIn(some_layouts()), ByName{});

}  // namespace
}  // namespace switchyard::test
