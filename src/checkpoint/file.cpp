// System calls with their results checked.
#include "checkpoint/file.h"

#include "switchyard/base/error.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <system_error>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace switchyard::checkpoint {
namespace {

thread_local FaultHook fault_hook;

std::string reason(int error) { return std::generic_category().message(error); }

[[noreturn]] void fail_call(std::string_view action, std::string_view path, int error) {
  fail(ExitCode::io, "cannot {} {}: {}", action, path, reason(error));
}

// Makes a call, again while signals interrupt it; -1 with errno on failure.
template <class Call>
auto repeated(Call&& call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

template <class Call>
auto writing(std::string_view name, std::string_view path, Call&& call) {
  return repeated([&]() -> decltype(call()) {
    const int error = fault_hook ? fault_hook(name, path) : 0;
    if (error == 0) return call();
    errno = error;
    return -1;
  });
}

}  // namespace

void set_fault_hook(FaultHook hook) { fault_hook = std::move(hook); }

Descriptor::~Descriptor() {
  if (fd_ >= 0) close(fd_);
}

Folder::Folder(const fs::path& path)
    : path_(path), fd_(repeated([&] { return open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); })) {
  if (fd_.get() < 0) fail_call("open folder", path.string(), errno);
}

int64_t Folder::size_of_file(const std::string& name) const {
  struct stat info {};
  if (repeated([&] { return fstatat(fd_.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW); }) != 0) {
    const int error = errno;
    require(error != ENOENT, ExitCode::input, "{} is missing", path_of(name));
    fail_call("look at", path_of(name), error);
  }
  require(S_ISREG(info.st_mode), ExitCode::input, "{} is not a plain file", path_of(name));
  return info.st_size;
}

Descriptor Folder::open_file(const std::string& name) const {
  // Without O_NONBLOCK a FIFO of that name would hold us for ever.
  constexpr int kFlags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
  Descriptor file(repeated([&] { return openat(fd_.get(), name.c_str(), kFlags); }));
  if (file.get() < 0) {
    const int error = errno;
    require(error != ENOENT && error != ELOOP, ExitCode::input, "{} is {}", path_of(name),
            error == ENOENT ? "missing" : "a link");
    fail_call("open", path_of(name), error);
  }
  struct stat info {};
  if (fstat(file.get(), &info) != 0) fail_call("look at", path_of(name), errno);
  require(S_ISREG(info.st_mode), ExitCode::input, "{} is not a plain file", path_of(name));
  return file;
}

Descriptor Folder::create_file(const std::string& name) const {
  constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  const std::string path = path_of(name);
  Descriptor file(writing("open", path, [&] { return openat(fd_.get(), name.c_str(), kFlags, 0666); }));
  if (file.get() < 0) fail_call("create", path, errno);
  return file;
}

std::string Folder::read_file(const std::string& name, int64_t max_bytes) const {
  const int64_t bytes = size_of_file(name);
  require(bytes <= max_bytes, ExitCode::input, "{} has {} bytes; at most {} are accepted", path_of(name), bytes,
          max_bytes);
  std::string content(static_cast<size_t>(bytes), '\0');
  read_at(open_file(name), 0, content.data(), content.size(), path_of(name));
  return content;
}

void Folder::write_file(const std::string& name, std::string_view bytes) const {
  Descriptor file = create_file(name);
  reserve(file, static_cast<int64_t>(bytes.size()), path_of(name));
  write_all(file, bytes.data(), bytes.size(), path_of(name));
  sync_and_close(std::move(file), path_of(name));
}

void Folder::make_folder(const std::string& name) const {
  if (writing("mkdir", path_of(name), [&] { return mkdirat(fd_.get(), name.c_str(), 0777); }) != 0)
    fail_call("create folder", path_of(name), errno);
}

void Folder::rename(const std::string& from, const std::string& to) const {
  if (writing("rename", path_of(to), [&] { return renameat(fd_.get(), from.c_str(), fd_.get(), to.c_str()); }) != 0)
    fail_call("rename " + from + " to", path_of(to), errno);
}

bool Folder::exchange(const std::string& a, const std::string& b) const {
  const int result = writing("rename", path_of(b),
                             [&] { return renameat2(fd_.get(), a.c_str(), fd_.get(), b.c_str(), RENAME_EXCHANGE); });
  if (result == 0) return true;
  if (errno == EINVAL || errno == ENOSYS) return false;
  fail_call("exchange " + a + " and", path_of(b), errno);
}

void Folder::remove_file(const std::string& name) const {
  if (writing("unlink", path_of(name), [&] { return unlinkat(fd_.get(), name.c_str(), 0); }) != 0)
    fail_call("remove", path_of(name), errno);
}

void Folder::set_link(const std::string& name, const std::string& target) const {
  const std::string aside = name + ".new";
  if (writing("unlink", path_of(aside), [&] { return unlinkat(fd_.get(), aside.c_str(), 0); }) != 0 && errno != ENOENT)
    fail_call("remove", path_of(aside), errno);
  if (writing("symlink", path_of(aside), [&] { return symlinkat(target.c_str(), fd_.get(), aside.c_str()); }) != 0)
    fail_call("create link", path_of(aside), errno);
  rename(aside, name);
}

void Folder::sync() const {
  if (writing("fsync", path_.string(), [&] { return fsync(fd_.get()); }) != 0)
    fail_call("sync folder", path_.string(), errno);
}

std::vector<std::string> Folder::names() const {
  const int again = repeated([&] { return openat(fd_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  if (again < 0) fail_call("list", path_.string(), errno);
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(fdopendir(again), closedir);
  if (!stream) fail_call("list", path_.string(), errno);
  std::vector<std::string> found;
  while (true) {
    errno = 0;
    const dirent* entry = readdir(stream.get());
    if (!entry && errno == EINTR) continue;
    if (!entry && errno != 0) fail_call("list", path_.string(), errno);
    if (!entry) break;
    const std::string name = entry->d_name;
    if (name != "." && name != "..") found.push_back(name);
  }
  std::sort(found.begin(), found.end());
  return found;
}

void read_at(const Descriptor& file, int64_t position, void* data, size_t bytes, const std::string& path) {
  auto* to = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t n = repeated([&] { return pread(file.get(), to, bytes, position); });
    if (n < 0) fail_call("read", path, errno);
    require(n > 0, ExitCode::input, "{} ends at byte {}, {} bytes early", path, position, bytes);
    to += n;
    position += n;
    bytes -= static_cast<size_t>(n);
  }
}

void write_all(const Descriptor& file, const void* data, size_t bytes, const std::string& path) {
  const auto* from = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t n = writing("write", path, [&] { return write(file.get(), from, bytes); });
    if (n <= 0) fail_call("write", path, n < 0 ? errno : EIO);
    from += n;
    bytes -= static_cast<size_t>(n);
  }
}

void reserve(const Descriptor& file, int64_t bytes, const std::string& path) {
  if (bytes == 0) return;
  int error = EINTR;
  while (error == EINTR) {
    error = fault_hook ? fault_hook("fallocate", path) : 0;
    if (error == 0) error = posix_fallocate(file.get(), 0, bytes);
  }
  if (error != 0 && error != EINVAL && error != EOPNOTSUPP) fail_call("reserve space for", path, error);
}

void sync_and_close(Descriptor file, const std::string& path) {
  // A failed fsync is never repeated: the kernel may have dropped the pages and would report success.
  if (writing("fsync", path, [&] { return fsync(file.get()); }) != 0) fail_call("sync", path, errno);
  const int error = fault_hook ? fault_hook("close", path) : 0;
  if (close(file.release()) != 0 && errno != EINTR) fail_call("close", path, errno);
  if (error != 0) fail_call("close", path, error);
}

int64_t free_bytes(const fs::path& path) {
  struct statvfs info {};
  if (repeated([&] { return statvfs(path.c_str(), &info); }) != 0)
    fail_call("ask for free space of", path.string(), errno);
  const uint64_t blocks = geteuid() == 0 ? info.f_bfree : info.f_bavail;
  return static_cast<int64_t>(blocks * info.f_frsize);
}

bool remove_tree(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  return !error;
}

}  // namespace switchyard::checkpoint
