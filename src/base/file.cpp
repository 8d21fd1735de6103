// System calls of files, retried where a signal cut them short.
#include "switchyard/base/file.h"

#include "base/system_call.h"
#include "switchyard/base/folder.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace switchyard {
namespace {

constexpr int64_t kLargestCall = int64_t{1} << 30;  // Linux moves at most 2 GiB in one call

thread_local FaultHook fault_hook;

int open_descriptor(const std::string& path, int flags, std::string_view what) {
  const int fd = writing("open", path, [&] { return ::open(path.c_str(), flags | O_CLOEXEC, 0666); });
  if (fd < 0) fail_call(what, path);
  return fd;
}

}  // namespace

void set_fault_hook(FaultHook hook) { fault_hook = std::move(hook); }

int injected_fault(std::string_view call, std::string_view path) { return fault_hook ? fault_hook(call, path) : 0; }

File File::open(const std::string& path) {
  // O_NONBLOCK: opening a FIFO that nobody writes to returns, so that it can be refused.
  const int fd = retried([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); });
  if (fd < 0) fail(ExitCode::input, "{}: cannot open: {}", path, std::generic_category().message(errno));
  File file(fd, path);
  file.require_regular();
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

void File::require_regular() const {
  struct stat status {};
  if (::fstat(fd_, &status) != 0) fail_call("stat", path_);
  require(S_ISREG(status.st_mode), ExitCode::input, "{}: is {}; accepted: a regular file", path_,
          S_ISDIR(status.st_mode) ? "a folder" : "a device, pipe or socket");
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

void File::write_at(int64_t offset, std::string_view bytes) {
  while (!bytes.empty()) {
    const size_t part = std::min(bytes.size(), static_cast<size_t>(kLargestCall));
    const auto got = writing("write", path_, [&] { return ::pwrite(fd_, bytes.data(), part, offset); });
    if (got == 0) errno = EIO;
    if (got <= 0) fail_call(fmt::format("write at byte {}", offset), path_);
    offset += got;
    bytes.remove_prefix(static_cast<size_t>(got));
  }
}

bool File::try_write(std::string_view bytes, int64_t& written) noexcept {
  written = 0;
  while (!bytes.empty()) {
    const size_t part = std::min(bytes.size(), static_cast<size_t>(kLargestCall));
    const auto got = writing("write", path_, [&] { return ::write(fd_, bytes.data(), part); });
    if (got == 0) errno = EIO;
    if (got <= 0) return false;
    written += got;
    bytes.remove_prefix(static_cast<size_t>(got));
  }
  return true;
}

void File::truncate(int64_t size) {
  if (retried([&] { return ::ftruncate(fd_, size); }) != 0) fail_call("truncate", path_);
}

void File::reserve(int64_t bytes) {
  if (bytes == 0) return;
  int error = EINTR;
  while (error == EINTR) {
    error = injected_fault("fallocate", path_);
    if (error == 0) error = ::posix_fallocate(fd_, 0, bytes);
  }
  errno = error;
  if (error != 0 && error != EINVAL && error != ENOTSUP) fail_call("reserve space", path_);
}

void File::sync() {
  // A failed fsync is never repeated: the kernel may have dropped the pages and would report success.
  if (writing("fsync", path_, [&] { return ::fsync(fd_); }) != 0) fail_call("sync", path_);
}

void File::close() {
  const int fault = injected_fault("close", path_);
  // After EINTR the descriptor is gone all the same (Linux), so close is never retried.
  if (::close(std::exchange(fd_, -1)) != 0 && errno != EINTR) fail_call("close", path_);
  errno = fault;
  if (fault != 0) fail_call("close", path_);
}

std::string read_file(const std::string& path) {
  File file = File::open(path);
  std::string bytes(static_cast<size_t>(file.size()), '\0');
  file.read_at(0, bytes.data(), static_cast<int64_t>(bytes.size()));
  return bytes;
}

void rename_file(const std::string& from, const std::string& to) {
  if (writing("rename", to, [&] { return ::rename(from.c_str(), to.c_str()); }) != 0)
    fail_call(fmt::format("rename to {}", to), from);
}

void sync_folder_of(const std::string& path) {
  const auto parent = std::filesystem::path(path).parent_path();
  Folder(parent.empty() ? "." : parent).sync();
}

void replace_file(const std::string& path, std::string_view bytes) {
  replace_file(path, [&](File& file) { file.write(bytes); });
}

void replace_file(const std::string& path, const std::function<void(File&)>& fill) {
  const std::string aside = fmt::format("{}.tmp-{}", path, ::getpid());
  try {
    File file = File::create(aside);
    fill(file);
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
