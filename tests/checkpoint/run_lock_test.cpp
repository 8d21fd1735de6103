// One run per folder.
#include "switchyard/checkpoint/run_lock.h"

#include "tests/support/scratch.h"

#include <optional>

#include <sys/wait.h>
#include <unistd.h>

namespace switchyard::test {
namespace {

using checkpoint::RunLock;

TEST(RunLock, ASecondRunInAFolderIsRefusedAndTheFirstNamed) {
  const Scratch scratch;
  std::optional<RunLock> first(scratch.path("run"));
  expect_error(ExitCode::usage, {"run.dir", scratch.path("run"), fmt::format("process {} on", getpid())},
               [&] { RunLock second(scratch.path("run")); });
  first.reset();
  RunLock third(scratch.path("run"));
}

TEST(RunLock, ADeadProcessHoldsNothing) {
  const Scratch scratch;
  const pid_t child = fork();
  if (child == 0) {
    RunLock lock(scratch.path("run"));
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  RunLock lock(scratch.path("run"));
}

TEST(RunLock, ANewFolderIsForItsOwnerAlone) {
  const Scratch scratch;
  RunLock lock(scratch.path("a/run"));
  EXPECT_EQ(std::filesystem::status(scratch.path("a/run")).permissions(), std::filesystem::perms::owner_all);
}

TEST(RunLock, AnotherUsersFolderIsRefused) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can act as two users";
  const Scratch scratch;
  std::filesystem::permissions(scratch.path(""), std::filesystem::perms::all);
  std::filesystem::create_directory(scratch.path("run"));
  std::filesystem::permissions(scratch.path("run"), std::filesystem::perms::all);
  const pid_t child = fork();
  if (child == 0) {
    if (setuid(65534) != 0) _exit(2);
    try {
      RunLock lock(scratch.path("run"));
    } catch (const Error& error) {
      _exit(error.code() == ExitCode::usage &&
            std::string(error.what()).find("belongs to user 0") != std::string::npos);
    }
    _exit(3);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 1);
}

TEST(RunLock, AFolderThatCannotBeWrittenIsRefused) {
  const Scratch scratch;
  scratch.write("file", "x");
  expect_error(ExitCode::io, {"run.dir", "file/run"}, [&] { RunLock lock(scratch.path("file/run")); });
}

}  // namespace
}  // namespace switchyard::test
