// One bit of one rank's copy of a weight is another: the next checkpoint is not made, and the one before is good.
#include "tests/process/runs_that_go_on.h"

namespace switchyard::test {
namespace {

class WrongArithmetic : public testing::TestWithParam<int> {};  // the rank

TEST_P(WrongArithmetic, EndsWith78AndCommitsNothing) {
  const Scratch scratch;
  const std::string dir = scratch.path("run");
  const Train run = endless(2, {"parallel.expert=2", "checkpoint.every=2"});
  const Outcome outcome = train(until(6, run), dir, {{"SWITCHYARD_FAULT", fmt::format("flip:4:{}", GetParam())}});
  expect_outcome(outcome, 78, {"rank 1: step 4: model/embedding.weight is not, bit for bit, what rank 0 holds"});
  expect_one_message(outcome);
  expect_verdict(dir, "failed", 2);
  EXPECT_EQ(saved_steps(dir), std::vector<int64_t>{2});
  for (const auto& entry : fs::directory_iterator(dir + "/checkpoints"))
    EXPECT_EQ(entry.path().filename().string().find("step-00000004"), std::string::npos) << entry.path();
  expect_resume_is_bit_identical(run, dir, scratch.path("straight"), 4);
}

INSTANTIATE_TEST_SUITE_P(Rank, WrongArithmetic, testing::Values(0, 1), testing::PrintToStringParamName());

}  // namespace
}  // namespace switchyard::test
