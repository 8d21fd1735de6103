// A whole training, killed at or failed by any one call that writes during a save: resume comes to the same bits, or
// the training goes on. strace injects the kill or the error; the calls of a save alone are in tests/checkpoint.
#include "tests/support/runs.h"
#include "tests/support/system_calls.h"

namespace switchyard::test {
namespace {

class SystemCalls : public testing::Test {
 protected:
  // Three steps and a checkpoint after each. Without a watchdog there is one thread, so the calls have one order.
  const Train training_{"tiny", 1, {"train.steps=3", "checkpoint.every=1", "run.watchdog=0", "data.valid=[]"}};

  void SetUp() override {
    if (!can_trace()) GTEST_SKIP() << "strace cannot trace a program here";
    must_train(training_, straight_);
    calls_ = calls_of_the_second_save();
    ASSERT_GT(calls_.size(), 10u);
  }

  // Those that make, write, sync, rename or remove something, from the folder aside to the link to the newest; of many
  // writes in a row the first and the last.
  std::vector<SystemCall> calls_of_the_second_save() const {
    const std::set<std::string> writing{"mkdirat", "openat",   "fallocate", "write",     "fsync",
                                        "close",   "renameat", "unlinkat",  "symlinkat", "renameat2"};
    std::vector<SystemCall> calls;
    bool inside = false;
    for (const SystemCall& call : calls_of(training_.command(scratch_.path("traced")))) {
      const auto& [name, number, line] = call;
      if (name == "mkdirat" && call.mentions("step-00000002.tmp")) inside = true;
      if (name == "mkdirat" && call.mentions("step-00000003.tmp")) inside = false;
      const bool reads = name == "openat" && !call.mentions("O_CREAT");
      const bool shows = name == "write" && (line.starts_with("write(1,") || line.starts_with("write(2,"));
      if (!inside || !writing.contains(name) || reads || shows) continue;
      const size_t n = calls.size();
      if (n > 1 && calls[n - 1].name == name && calls[n - 2].name == name) calls.pop_back();
      calls.push_back(call);
    }
    return calls;
  }

  Outcome train_with(const SystemCall& call, const std::string& injection) const {
    fs::remove_all(dir_);
    return run_with_injection(call, injection, training_.command(dir_));
  }
  void expect_same_end() const {
    expect_same_metrics(dir_, straight_);
    expect_same_checkpoint(checkpoint_of(dir_, 3), checkpoint_of(straight_, 3));
  }

  Scratch scratch_;
  std::string dir_ = scratch_.path("run"), straight_ = scratch_.path("straight");
  std::vector<SystemCall> calls_;
};

TEST_F(SystemCalls, AKillAtAnyOneIsResumedToTheSameBits) {
  std::set<int64_t> found;
  for (const SystemCall& call : calls_) {
    SCOPED_TRACE(call.line);
    EXPECT_EQ(train_with(call, "signal=KILL").code, 128 + SIGKILL);
    ASSERT_FALSE(saved_steps(dir_).empty());
    found.insert(saved_steps(dir_).back());
    must_train(training_, dir_);
    expect_same_end();
    for (const auto& entry : fs::directory_iterator(fs::path(dir_) / "checkpoints"))
      EXPECT_EQ(entry.path().filename().string().find('.'), std::string::npos) << entry.path() << " is left over";
  }
  EXPECT_EQ(found, (std::set<int64_t>{1, 2})) << "kills before and after the commit were among them";
}

TEST_F(SystemCalls, AFullDiskAtAnyOneLetsTheTrainingGoOn) {
  for (const SystemCall& call : calls_) {
    SCOPED_TRACE(call.line);
    const Outcome outcome = train_with(call, "error=ENOSPC");
    expect_outcome(outcome, 0);
    expect_same_checkpoint(checkpoint_of(dir_, 3), checkpoint_of(straight_, 3));
    const std::vector<int64_t> steps = saved_steps(dir_);
    if (steps == std::vector<int64_t>{1, 3})
      EXPECT_NE(outcome.err.find("step 2 is not saved"), std::string::npos) << outcome.err;
    else
      EXPECT_EQ(steps, (std::vector<int64_t>{1, 2, 3}));
  }
}

}  // namespace
}  // namespace switchyard::test
