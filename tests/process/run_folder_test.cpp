// What a run does when its folder cannot be written, is full, or is in use.
#include "tests/process/runs_that_go_on.h"

#include <sys/resource.h>
#include <sys/stat.h>

namespace switchyard::test {
namespace {

class RunFolder : public testing::Test {
 protected:
  Scratch scratch_;
  std::string dir_ = scratch_.path("run");
};

TEST_F(RunFolder, BelowARegularFileIsRefused) {
  const std::string file = scratch_.write("file", "");
  for (const int ranks : {1, 2}) {
    const Outcome outcome = train({"tiny", ranks}, file + "/run");
    expect_outcome(outcome, 74, {"run.dir", file + "/run"});
    expect_one_message(outcome);
  }
  EXPECT_TRUE(fs::is_regular_file(file));
}

TEST_F(RunFolder, ThatBelongsToAnotherUserIsRefused) {
  fs::create_directory(dir_);
  ASSERT_EQ(chmod(dir_.c_str(), 0555), 0);
  const std::string config = scratch_.write("tiny.yaml", read_text(config_file("tiny")));
  for (const int ranks : {1, 2}) {
    SCOPED_TRACE(ranks);
    const Command command =
        as_another_user(scratch_, ranks, {"train", config, "run.dir=" + dir_, "data.train=[{path: x}]"});
    if (command.empty()) GTEST_SKIP() << "no program can be run as another user here";
    const Outcome outcome = run(command);
    expect_outcome(outcome, 74, {"run.dir", dir_, "Permission denied"});
    expect_one_message(outcome);
  }
  EXPECT_TRUE(fs::is_empty(dir_));
}

TEST_F(RunFolder, TakesOneRunAtATime) {
  Process first(endless().command(dir_));
  ASSERT_TRUE(reaches_step(dir_, first, 1)) << first.wait(0).text();
  for (const int ranks : {1, 2}) {
    const Outcome second = train({"tiny", ranks}, dir_);
    expect_outcome(second, 64, {"run.dir", dir_, "is in use"});
    expect_one_message(second);
  }
  const int64_t step = last_step(dir_);
  EXPECT_TRUE(reaches_step(dir_, first, step + 10)) << "the first run is not disturbed";
  first.send(SIGUSR1);
  EXPECT_EQ(first.wait().code, 75);
}

// A file-size limit is met in the middle of a save, like a full disk.
TEST_F(RunFolder, WithoutRoomForACheckpointTrainsOnAndKeepsTheOldOne) {
  const Train training{"tiny", 1, {"schedule.kind=constant", "checkpoint.every=5", "eval.every=0"}};
  must_train(until(5, training), dir_);
  const Command limit{"prlimit", "--fsize=100000"};
  expect_outcome(run(limit + until(20, training).command(dir_)), 74,
                 {"step 10", "step 20", "is not saved", "rank-00000.bin", "bytes are free"});
  EXPECT_EQ(last_step(dir_), 20);
  expect_verdict(dir_, "failed", 5);
  EXPECT_EQ(saved_steps(dir_), std::vector<int64_t>{5});
  expect_outcome(run({program(), "checkpoint", "verify", dir_}), 0);
  expect_resume_is_bit_identical(training, dir_, scratch_.path("straight"), 15);
}

TEST_F(RunFolder, WithoutRoomIsTriedAgainBeforeTheNextCheckpointIsDue) {
  const Train training{"tiny", 1, {"schedule.kind=constant", "checkpoint.every=20", "eval.every=0"}};
  const Command limit{"prlimit", "--fsize=100000"};
  const Outcome outcome = run(limit + until(35, training).command(dir_));
  expect_outcome(outcome, 74, {"step 20 is not saved", "step 30 is not saved", "step 35 is not saved"});
  EXPECT_EQ(count_of(outcome.err, "is not saved"), 3);
}

TEST_F(RunFolder, WithoutRoomForTooManyCheckpointsEndsTheRunWhereTheConfigSaysSo) {
  const Train training{"tiny", 1, {"schedule.kind=constant", "checkpoint.every=5", "checkpoint.max_failures=2"}};
  const Command limit{"prlimit", "--fsize=100000"};
  expect_outcome(run(limit + until(40, training).command(dir_)), 74, {"step 5 is not saved", "step 10 is not saved"});
  EXPECT_EQ(last_step(dir_), 10);
  expect_verdict(dir_, "failed", -1);
}

TEST_F(RunFolder, WithoutRoomOnOneRankFailsTheSaveOfAllUntilThereIsRoomAgain) {
  const Train training = endless(2);
  Process process(training.command(dir_));
  ASSERT_TRUE(saves_a_checkpoint(dir_, process)) << process.wait(0).text();
  rlimit before{};
  const rlimit none{1, RLIM_INFINITY};
  ASSERT_EQ(prlimit(process.rank(1), RLIMIT_FSIZE, &none, &before), 0);
  ASSERT_TRUE(wait_until([&] { return process.is_over() || count_of(process.err(), "is not saved") >= 2; }));
  EXPECT_NE(process.err().find("rank-00001.bin"), std::string::npos) << process.err();
  ASSERT_EQ(prlimit(process.rank(1), RLIMIT_FSIZE, &before, nullptr), 0);
  const int64_t step = saved_steps(dir_).back();
  ASSERT_TRUE(wait_until([&] { return process.is_over() || saved_steps(dir_).back() > step; }));
  process.send(SIGUSR1);
  expect_outcome(process.wait(), 75);
  expect_resume_is_bit_identical(training, dir_, scratch_.path("straight"), 5);
}

}  // namespace
}  // namespace switchyard::test
