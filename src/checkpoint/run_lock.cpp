// flock on RUN_DIR/lock; its text says who holds it.
#include "switchyard/checkpoint/run_lock.h"

#include "switchyard/base/error.h"

#include <array>
#include <cerrno>
#include <system_error>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace switchyard::checkpoint {
namespace {

std::string reason() { return std::generic_category().message(errno); }

std::string holder(int fd) {
  std::array<char, 256> text{};
  const ssize_t n = pread(fd, text.data(), text.size() - 1, 0);
  std::string line(text.data(), n > 0 ? static_cast<size_t>(n) : 0);
  while (!line.empty() && line.back() == '\n') line.pop_back();
  return line.empty() ? "another process" : line;
}

void create(const std::filesystem::path& run_dir) {
  std::error_code error;
  const bool is_new = std::filesystem::create_directories(run_dir, error);
  if (is_new) std::filesystem::permissions(run_dir, std::filesystem::perms::owner_all, error);
  require(!error, ExitCode::io, "run.dir: cannot create {}: {}", run_dir.string(), error.message());
}

// Whoever owns a folder can put anything in the way of what is written there. Root may be another user on a network
// file system.
void check_owner(const std::filesystem::path& run_dir) {
  struct stat status {};
  if (geteuid() == 0 || stat(run_dir.c_str(), &status) != 0) return;
  require(status.st_uid == geteuid(), ExitCode::usage,
          "run.dir: {} belongs to user {}, and this is user {}; choose another run.dir", run_dir.string(),
          status.st_uid, geteuid());
}

}  // namespace

RunLock::RunLock(const std::filesystem::path& run_dir) {
  create(run_dir);
  const std::string path = (run_dir / "lock").string();
  fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
  require(fd_ >= 0, ExitCode::io, "run.dir: cannot write {}: {}", path, reason());
  try {
    check_owner(run_dir);
  } catch (...) {
    close(fd_);
    throw;
  }
  int result = flock(fd_, LOCK_EX | LOCK_NB);
  while (result != 0 && errno == EINTR) result = flock(fd_, LOCK_EX | LOCK_NB);
  if (result != 0) {
    const std::string why = errno == EWOULDBLOCK ? holder(fd_) + " runs in it" : reason();
    close(fd_);
    fail(ExitCode::usage, "run.dir: {} is in use: {}; end that run, or choose another run.dir", run_dir.string(), why);
  }
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  const std::string text = fmt::format("process {} on {}\n", getpid(), host.data());
  const bool written = ftruncate(fd_, 0) == 0 && pwrite(fd_, text.data(), text.size(), 0) >= 0;
  if (!written) {
    const std::string why = reason();
    close(fd_);
    fail(ExitCode::io, "run.dir: cannot write {}: {}", path, why);
  }
}

RunLock::~RunLock() { close(fd_); }

}  // namespace switchyard::checkpoint
