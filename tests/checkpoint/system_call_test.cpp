// A process killed at, or failed by, any one system call of a save leaves a whole checkpoint, the old one or the new
// one. strace injects the kill or the error.
#include "tests/checkpoint/state.h"
#include "tests/support/scratch.h"

#include <fstream>
#include <map>
#include <set>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace switchyard::test {
namespace {

namespace fs = std::filesystem;

struct Call {
  std::string name;
  int number = 0;  // of its name, counted from the start of the process
};

int run(const std::vector<std::string>& command) {
  const pid_t child = fork();
  if (child == 0) {
    // The leak checker cannot work under a tracer.
    setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
    const int nowhere = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; ++fd) dup2(nowhere, fd);
    std::vector<char*> arguments;
    for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    execvp(arguments[0], arguments.data());
    _exit(127);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::string program() { return fs::read_symlink("/proc/self/exe").parent_path() / "save_once_program"; }

// The system calls between the two marks of the program; none if tracing is not allowed here.
std::vector<Call> calls_of_a_save(const Scratch& scratch, int64_t step_before) {
  const std::string log = scratch.path("log");
  if (!save_step(scratch.path("traced"), comm::Group(), step_before).saved) return {};
  if (run({"strace", "-o", log, program(), scratch.path("traced")}) != 0) return {};
  std::vector<Call> calls;
  std::map<std::string, int> seen;
  std::ifstream lines(log);
  bool inside = false;
  std::set<std::string> pipe_ends;  // the sanitizers', which probe memory by writing it into a pipe
  for (std::string line; std::getline(lines, line);) {
    const std::string name = line.substr(0, line.find('('));
    if (name.empty() || name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") != std::string::npos) continue;
    const int number = ++seen[name];
    const size_t open = line.find('('), end = line.find_first_of(",)", open);
    const std::string first = line.substr(open + 1, end - open - 1);
    if (name == "pipe2") {
      const size_t comma = line.find(", "), close = line.find(']');
      pipe_ends = {first.substr(1), line.substr(comma + 2, close - comma - 2)};
      continue;
    }
    if (pipe_ends.contains(first) && (name == "write" || name == "close")) {
      if (name == "close") pipe_ends.erase(first);
      continue;
    }
    if (line.find("/save-begins") != std::string::npos)
      inside = true;
    else if (line.find("/save-ends") != std::string::npos)
      inside = false;
    else if (inside)
      calls.push_back({name, number});
  }
  return calls;
}

// Of a save of step 2; the parameter is the step of the checkpoint that is there: another one, or the same.
class SystemCalls : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override {
    calls_ = calls_of_a_save(scratch_, GetParam());
    if (calls_.empty()) GTEST_SKIP() << "strace cannot trace a program here";
    ASSERT_GT(calls_.size(), 20u);
  }

  // A run with a checkpoint, and one save with an injection into one call.
  int save_with(const Call& call, const std::string& injection) {
    fs::remove_all(run_);
    EXPECT_TRUE(save_step(run_, alone_, GetParam()).saved);
    return run({"strace", "-o", "/dev/null", "-e", "trace=" + call.name, "-e",
                fmt::format("inject={}:{}:when={}", call.name, injection, call.number), program(), run_});
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
  std::vector<Call> calls_;
};

TEST_P(SystemCalls, AKillAtAnyOneLeavesTheOldOrTheNewCheckpoint) {
  std::set<int64_t> steps;
  for (const Call& call : calls_) {
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
  for (const Call& call : calls_) {
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
  EXPECT_EQ(run({program(), scratch.path("run"), "short-writes"}), 0);
  const auto found = checkpoint::find(scratch.path("run"), alone);
  ASSERT_TRUE(found.has_value());
  EXPECT_TRUE(loads_as_step(*found, alone, 2));
}

// A file system of `inodes`, which vanishes with the command.
int save_within(const Scratch& scratch, int inodes) {
  fs::create_directories(scratch.path("disk"));
  return run(
      {"unshare", "--mount", "sh", "-c",
       fmt::format("mount -t tmpfs -o nr_inodes={} tmpfs \"$1\" || exit 69; exec \"$0\" \"$1/run\" 2> \"$2\"", inodes),
       program(), scratch.path("disk"), scratch.path("message")});
}

TEST(Save, WithoutInodesForItsFilesNothingIsBegun) {
  const Scratch scratch;
  const int code = save_within(scratch, 20);
  if (code == 1 || code == 69 || code == 127) GTEST_SKIP() << "this system does not let the test mount a tmpfs";
  EXPECT_EQ(code, 0);
  EXPECT_EQ(save_within(scratch, 6), 4);  // the root, run, checkpoints, and three more
  EXPECT_NE(scratch.read("message").find("not enough inodes in "), std::string::npos) << scratch.read("message");
  EXPECT_NE(scratch.read("message").find(": 4 files and folders, 3 may be made"), std::string::npos)
      << scratch.read("message");
}

INSTANTIATE_TEST_SUITE_P(Save, SystemCalls, testing::Values(1, 2),
                         [](const auto& row) { return row.param == 1 ? "OfANewStep" : "OfAStepThatIsThere"; });

}  // namespace
}  // namespace switchyard::test
