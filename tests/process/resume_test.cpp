// A run that is killed at any instant goes on as if it had not been, also on other numbers of ranks; and what may not
// change between the runs of one folder is refused by name.
#include "tests/process/runs_that_go_on.h"

namespace switchyard::test {
namespace {

class Resume : public testing::Test {
 protected:
  // Trains until the first checkpoint, and kills whatever has come so far.
  void train_and_kill(const Train& run) const {
    Process process(run.command(dir_));
    ASSERT_TRUE(saves_a_checkpoint(dir_, process)) << process.wait(0).text();
    process.send(SIGKILL);
    EXPECT_EQ(process.wait().code, 128 + SIGKILL);
    EXPECT_FALSE(verdict_of(dir_).is_object()) << "a killed run has no verdict";
  }
  void copy_run(const std::string& to) const { fs::copy(dir_, to, fs::copy_options::recursive); }

  Scratch scratch_;
  std::string dir_ = scratch_.path("run");
};

TEST_F(Resume, AfterAKillIsBitIdentical) {
  for (const Command& overrides : {Command{}, Command{"train.dtype=bf16", "train.recompute=full"}}) {
    fs::remove_all(dir_);
    fs::remove_all(scratch_.path("straight"));
    ASSERT_NO_FATAL_FAILURE(train_and_kill(endless(1, overrides)));
    expect_resume_is_bit_identical(endless(1, overrides), dir_, scratch_.path("straight"));
  }
}

TEST_F(Resume, FromAnotherRunsCheckpointTakesItsStateAndPlace) {
  must_train({"tiny", 1, {"train.steps=10", "schedule.kind=constant"}}, dir_);
  const Train goes_on{"tiny", 1, {"train.steps=14", "schedule.kind=constant"}};
  const std::string other = scratch_.path("other");
  must_train(goes_on.with({"checkpoint.resume=" + checkpoint_of(dir_, 10)}), other);
  must_train(goes_on, dir_);
  expect_same_checkpoint(checkpoint_of(other, 14), checkpoint_of(dir_, 14));
  EXPECT_EQ(metrics_of(other).front().at("step"), 11);
}

TEST_F(Resume, InitTakesTheWeightsAlone) {
  must_train({"tiny", 1, {"train.steps=10"}}, dir_);
  const std::string other = scratch_.path("other");
  must_train({"tiny", 1, {"train.steps=1", "checkpoint.init=" + dir_}}, other);
  const Json first = metrics_of(other).front();
  EXPECT_EQ(first.at("step"), 1);
  EXPECT_LT(first.at("loss").get<double>(), 0.9 * metrics_of(dir_).front().at("loss").get<double>());
}

struct Change {
  const char* override_text;
  const char* flag;
  std::vector<std::string> parts;
  bool may_be_allowed = true;
};

TEST_F(Resume, NeverAndPathsWithoutACheckpointAreRefusedWithTheRemedy) {
  must_train({"tiny", 1, {"train.steps=2"}}, dir_);
  expect_outcome(train({"tiny", 1, {"train.steps=3", "checkpoint.resume=never"}}, dir_), 64,
                 {"checkpoint.resume=never", checkpoint_of(dir_, 2), "run.dir"});
  const std::string nowhere = scratch_.path("nowhere");
  for (const char* key : {"checkpoint.resume", "checkpoint.init"})
    expect_outcome(train({"tiny", 1, {fmt::format("{}={}", key, nowhere)}}, scratch_.path("other")), 65, {nowhere});
}

}  // namespace
}  // namespace switchyard::test
