// A process killed at, or failed by, any one system call of a save leaves a whole checkpoint, the old one or the new
// one. strace injects the kill or the error.
#include "tests/checkpoint/state.h"
#include "tests/support/system_calls.h"

namespace switchyard::test {
namespace {

namespace fs = std::filesystem;

std::string program() { return fs::read_symlink("/proc/self/exe").parent_path() / "save_once_program"; }

// Those between the two marks of the program, which saves over a checkpoint of `step_before`.
std::vector<SystemCall> calls_of_a_save(const std::string& run, int64_t step_before) {
  check(save_step(run, comm::Group(), step_before).saved, "the first checkpoint is not saved");
  std::vector<SystemCall> calls;
  bool inside = false;
  for (const SystemCall& call : calls_of({program(), run})) {
    if (call.mentions("/save-ends")) break;
    if (inside) calls.push_back(call);
    if (call.mentions("/save-begins")) inside = true;
  }
  return calls;
}

// Of a save of step 2; the parameter is the step of the checkpoint that is there: another one, or the same.
class SystemCalls : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override {
    if (!can_trace()) GTEST_SKIP() << "strace cannot trace a program here";
    calls_ = calls_of_a_save(scratch_.path("traced"), GetParam());
    ASSERT_GT(calls_.size(), 20u);
  }

  // A run with a checkpoint, and one save with an injection into one call.
  int save_with(const SystemCall& call, const std::string& injection) {
    fs::remove_all(run_);
    EXPECT_TRUE(save_step(run_, alone_, GetParam()).saved);
    return run_with_injection(call, injection, {program(), run_}).code;
  }

  // The newest checkpoint is whole, holds what was saved, and `latest` names nothing that is not there.
  int64_t newest_step(const std::string& why) {
    const auto found = checkpoint::find(run_, alone_);
    EXPECT_TRUE(found.has_value()) << why;
    if (!found) return -1;
    const int64_t step = found->manifest.meta.step;
    EXPECT_TRUE(loads_as_step(*found, alone_, step)) << why;
    const fs::path latest = fs::path(run_) / "checkpoints" / "latest";
    EXPECT_TRUE(!fs::is_symlink(latest) || fs::exists(latest / "manifest")) << why;
    return step;
  }

  Scratch scratch_;
  std::string run_ = scratch_.path("run");
  comm::Group alone_;
  std::vector<SystemCall> calls_;
};

TEST_P(SystemCalls, AKillAtAnyOneLeavesTheOldOrTheNewCheckpoint) {
  std::set<int64_t> steps;
  for (const SystemCall& call : calls_) {
    const std::string why = fmt::format("killed at {} number {}", call.name, call.number);
    save_with(call, "signal=KILL");
    const int64_t step = newest_step(why);
    EXPECT_TRUE(step == GetParam() || step == 2) << why;
    steps.insert(step);
    checkpoint::clean(run_);
    EXPECT_TRUE(save_step(run_, alone_, 5, 1).saved) << why;
    int entries = 0;
    for ([[maybe_unused]] const auto& entry : fs::directory_iterator(fs::path(run_) / "checkpoints")) ++entries;
    EXPECT_EQ(entries, 2) << why << ": one checkpoint and `latest`, nothing left over";
  }
  EXPECT_EQ(steps, (std::set<int64_t>{GetParam(), 2}));  // kills before and after the commit were among them
}

TEST_P(SystemCalls, AnErrorFromAnyOneLeavesAWholeCheckpointAndTheRunGoesOn) {
  const std::set<std::string> no_files{"mmap",      "munmap",  "mprotect",      "brk",
                                       "madvise",   "futex",   "rt_sigaction",  "rt_sigprocmask",
                                       "getrandom", "geteuid", "clock_gettime", "exit_group"};
  for (const SystemCall& call : calls_) {
    if (no_files.contains(call.name)) continue;
    for (const std::string error : {"EIO", "ENOSPC", "EINTR"}) {
      const std::string why = fmt::format("{} from {} number {}", error, call.name, call.number);
      const int code = save_with(call, "error=" + error);
      EXPECT_TRUE(code == 0 || code == 3) << why << ": exit code " << code;
      EXPECT_EQ(newest_step(why), code == 0 ? 2 : 3) << why;
      const bool must_repeat = error == "EINTR" && call.name != "newfstatat";  // which no signal interrupts
      EXPECT_TRUE(code == 0 || !must_repeat) << why << ": an interrupted call is repeated";
    }
  }
}

// A tracer can claim a short write, but then no byte is written: the program makes them itself.
TEST(Save, AWriteThatIsCutShortIsContinued) {
  const Scratch scratch;
  const comm::Group alone;
  ASSERT_TRUE(save_step(scratch.path("run"), alone, 1).saved);
  EXPECT_EQ(run({program(), scratch.path("run"), "short-writes"}).code, 0);
  const auto found = checkpoint::find(scratch.path("run"), alone);
  ASSERT_TRUE(found.has_value());
  EXPECT_TRUE(loads_as_step(*found, alone, 2));
}

// A file system of `inodes`, which vanishes with the command.
Outcome save_within(const Scratch& scratch, int inodes) {
  fs::create_directories(scratch.path("disk"));
  const std::string script =
      fmt::format("mount -t tmpfs -o nr_inodes={} tmpfs \"$1\" || exit 69; exec \"$0\" \"$1/run\"", inodes);
  return run({"unshare", "--mount", "sh", "-c", script, program(), scratch.path("disk")});
}

TEST(Save, WithoutInodesForItsFilesNothingIsBegun) {
  const Scratch scratch;
  const int code = save_within(scratch, 20).code;
  if (code == 1 || code == 69 || code == 127) GTEST_SKIP() << "this system does not let the test mount a tmpfs";
  EXPECT_EQ(code, 0);
  expect_outcome(save_within(scratch, 6), 4,  // the root, run, checkpoints, and three more
                 {"not enough inodes in ", ": 4 files and folders, 3 may be made"});
}

INSTANTIATE_TEST_SUITE_P(Save, SystemCalls, testing::Values(1, 2),
                         [](const auto& row) { return row.param == 1 ? "OfANewStep" : "OfAStepThatIsThere"; });

}  // namespace
}  // namespace switchyard::test
