// System calls of files, retried where a signal cut them short.
#include "switchyard/base/file.h"

#include "switchyard/base/error.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace switchyard {
namespace {

constexpr int64_t kLargestCall = int64_t{1} << 30;  // Linux moves at most 2 GiB in one call

[[noreturn]] void fail_call(std::string_view what, const std::string& path) {
  const int reason = errno;
  fail(ExitCode::io, "{}: cannot {}: {}", path, what, std::strerror(reason));
}

template <class Call>
auto retried(Call&& call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

int open_descriptor(const std::string& path, int flags, std::string_view what) {
  const int fd = retried([&] { return ::open(path.c_str(), flags | O_CLOEXEC, 0666); });
  if (fd < 0) fail_call(what, path);
  return fd;
}

}  // namespace

File File::open(const std::string& path) {
  // O_NONBLOCK: opening a FIFO that nobody writes to returns, so that it can be refused.
  const int fd = retried([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); });
  if (fd < 0) {
    const int reason = errno;
    fail(ExitCode::input, "{}: cannot open: {}", path, std::strerror(reason));
  }
  File file(fd, path);
  struct stat status {};
  if (::fstat(fd, &status) != 0) fail_call("stat", path);
  require(S_ISREG(status.st_mode), ExitCode::input, "{}: is {}; accepted: a regular file", path,
          S_ISDIR(status.st_mode) ? "a folder" : "a device, pipe or socket");
  return file;
}

File File::create(const std::string& path) {
  return {open_descriptor(path, O_RDWR | O_CREAT | O_TRUNC, "create"), path};
}

File File::append(const std::string& path) {
  return {open_descriptor(path, O_RDWR | O_CREAT | O_APPEND, "open for appending"), path};
}

File::~File() {
  if (fd_ >= 0) ::close(fd_);
}

File::File(File&& other) noexcept : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}

File& File::operator=(File&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(path_, other.path_);
  return *this;
}

int64_t File::size() const {
  struct stat status {};
  if (::fstat(fd_, &status) != 0) fail_call("stat", path_);
  return status.st_size;
}

int64_t File::read_some(void* out, int64_t bytes) {
  const auto got = retried([&] { return ::read(fd_, out, static_cast<size_t>(std::min(bytes, kLargestCall))); });
  if (got < 0) fail_call("read", path_);
  return got;
}

void File::read_at(int64_t offset, void* out, int64_t bytes) const {
  auto* to = static_cast<char*>(out);
  while (bytes > 0) {
    const auto got =
        retried([&] { return ::pread(fd_, to, static_cast<size_t>(std::min(bytes, kLargestCall)), offset); });
    if (got < 0) fail_call(fmt::format("read at byte {}", offset), path_);
    require(got > 0, ExitCode::input, "{}: ends at byte {}, {} bytes too early", path_, offset, bytes);
    to += got, offset += got, bytes -= got;
  }
}

void File::write(std::string_view bytes) {
  int64_t written = 0;
  if (!try_write(bytes, written)) fail_call("write", path_);
}

bool File::try_write(std::string_view bytes, int64_t& written) noexcept {
  written = 0;
  while (!bytes.empty()) {
    const size_t part = std::min(bytes.size(), static_cast<size_t>(kLargestCall));
    const auto got = retried([&] { return ::write(fd_, bytes.data(), part); });
    if (got <= 0) return false;
    written += got;
    bytes.remove_prefix(static_cast<size_t>(got));
  }
  return true;
}

void File::truncate(int64_t size) {
  if (retried([&] { return ::ftruncate(fd_, size); }) != 0) fail_call("truncate", path_);
}

void File::sync() {
  if (retried([&] { return ::fsync(fd_); }) != 0) fail_call("sync", path_);
}

void File::close() {
  // After EINTR the descriptor is gone all the same (Linux), so close is never retried.
  if (::close(std::exchange(fd_, -1)) != 0 && errno != EINTR) fail_call("close", path_);
}

std::string read_file(const std::string& path) {
  File file = File::open(path);
  std::string bytes(static_cast<size_t>(file.size()), '\0');
  file.read_at(0, bytes.data(), static_cast<int64_t>(bytes.size()));
  return bytes;
}

void rename_file(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) fail_call(fmt::format("rename to {}", to), from);
}

void sync_folder_of(const std::string& path) {
  const auto parent = std::filesystem::path(path).parent_path();
  const std::string folder = parent.empty() ? "." : parent.string();
  const int fd = open_descriptor(folder, O_RDONLY | O_DIRECTORY, "open");
  const int result = retried([&] { return ::fsync(fd); });
  const int reason = errno;
  ::close(fd);
  // Some file systems have no sync of folders: then there is nothing more that could be done.
  errno = reason;
  if (result != 0 && reason != EINVAL && reason != ENOTSUP) fail_call("sync", folder);
}

void replace_file(const std::string& path, std::string_view bytes) {
  const std::string aside = fmt::format("{}.tmp-{}", path, ::getpid());
  try {
    File file = File::create(aside);
    file.write(bytes);
    file.sync();
    file.close();
    rename_file(aside, path);
  } catch (...) {
    ::unlink(aside.c_str());
    throw;
  }
  sync_folder_of(path);
}

}  // namespace switchyard
