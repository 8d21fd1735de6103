// A NaN in one rank: no rank changes a weight, all count the step, too many end the run, and nothing bad is committed.
#include "tests/process/runs_that_go_on.h"

namespace switchyard::test {
namespace {

Environment nan_in(const std::string& steps_and_rank) { return {{"SWITCHYARD_FAULT", "nan:" + steps_and_rank}}; }

class NotFinite : public testing::TestWithParam<int> {  // the rank with the NaN
 protected:
  const Train run_{"tiny", 2, {"parallel.expert=2", "model.moe.balance=[]", "schedule.kind=constant", "eval.every=0"}};
  Scratch scratch_;
  std::string dir_ = scratch_.path("run");
};

// With a rate of nearly zero the first step leaves the weights, in all printed digits, as they were. So does one whose
// gradient is not finite: the second step sees the same loss and gradient.
TEST_P(NotFinite, OneBadStepChangesNoWeightAndIsSurvived) {
  const Outcome outcome = train(until(6, run_), dir_, nan_in(fmt::format("1:{}", GetParam())));
  expect_outcome(outcome, 0, {"step 1:", "samples 0 to 7", "no rank changed a weight"});
  expect_verdict(dir_, "finished", 6);
  const auto records = metrics_of(dir_);
  ASSERT_EQ(records.size(), 6u);
  EXPECT_TRUE(records[0].at("grad_norm").is_null());
  for (size_t i = 1; i < 6; ++i) EXPECT_TRUE(records[i].at("grad_norm").is_number()) << i;

  const std::string still = scratch_.path("still");
  must_train(until(2, run_).with({"schedule.lr=1e-30", "schedule.min_lr=0"}), still);
  const auto expected = metrics_of(still);
  for (const char* key : {"loss", "grad_norm", "data_hash"}) EXPECT_EQ(records[1].at(key), expected[1].at(key)) << key;
}

TEST_P(NotFinite, TooManyInARowEndWith77AndTheLastGoodStepIsKept) {
  for (const int64_t every : {1, 100}) {
    const Train run = run_.with({fmt::format("checkpoint.every={}", every), "train.max_bad_steps=2"});
    fs::remove_all(dir_);
    fs::remove_all(scratch_.path("straight"));
    const Outcome outcome = train(until(9, run), dir_, nan_in(fmt::format("4-:{}", GetParam())));
    expect_outcome(outcome, 77, {"step 4:", "step 5:"});
    EXPECT_EQ(outcome.err.find("step 4:"), outcome.err.rfind("step 4:")) << "said once: " << outcome.err;
    expect_verdict(dir_, "failed", 3);
    EXPECT_EQ(saved_steps(dir_).back(), 3);
    expect_outcome(switchyard::test::run({program(), "checkpoint", "verify", dir_}), 0);
    expect_resume_is_bit_identical(run, dir_, scratch_.path("straight"), 3);
  }
}

TEST_P(NotFinite, ABadStepThatIsTheLastEndsWith77AndTheOneBeforeIsKept) {
  const Train run = run_.with({"checkpoint.every=100"});
  expect_outcome(train(until(6, run), dir_, nan_in(fmt::format("6:{}", GetParam()))), 77, {"step 6:"});
  expect_verdict(dir_, "failed", 5);
  EXPECT_EQ(saved_steps(dir_), std::vector<int64_t>{5});
  expect_resume_is_bit_identical(run, dir_, scratch_.path("straight"), 1);
}

TEST_P(NotFinite, ACheckpointThatIsDueAtABadStepIsOfTheStepBefore) {
  const Train run = run_.with({"checkpoint.every=4"});
  expect_outcome(train(until(9, run), dir_, nan_in(fmt::format("4:{}", GetParam()))), 0);
  EXPECT_EQ(saved_steps(dir_), (std::vector<int64_t>{3, 8, 9}));
}

TEST_P(NotFinite, ARequestToStopDuringBadStepsKeepsTheLastGoodOne) {
  const Train run = run_.with({"checkpoint.every=1000000", "train.max_bad_steps=1000000"});
  Process process(until(1000000, run).command(dir_), nan_in(fmt::format("4-:{}", GetParam())));
  ASSERT_TRUE(reaches_step(dir_, process, 6)) << process.wait(0).text();
  process.send(SIGUSR1);
  expect_outcome(process.wait(), 75);
  expect_verdict(dir_, "resume", 3);
  EXPECT_EQ(saved_steps(dir_), std::vector<int64_t>{3});
  expect_resume_is_bit_identical(run, dir_, scratch_.path("straight"), 3);
}

INSTANTIATE_TEST_SUITE_P(Rank, NotFinite, testing::Values(0, 1), testing::PrintToStringParamName());

TEST(Fault, ThatIsNotOneIsRefused) {
  const Scratch scratch;
  expect_outcome(train({}, scratch.path("run"), {{"SWITCHYARD_FAULT", "nan"}}), 64, {"SWITCHYARD_FAULT=nan"});
}

}  // namespace
}  // namespace switchyard::test
