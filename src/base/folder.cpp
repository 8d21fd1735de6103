// Calls relative to an open folder.
#include "switchyard/base/folder.h"

#include "base/system_call.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <random>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace switchyard {

Folder::Folder(const std::filesystem::path& path)
    : path_(path), fd_(retried([&] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); })) {
  if (fd_ < 0) fail_call("open the folder", path.string());
}

Folder::~Folder() {
  if (fd_ >= 0) ::close(fd_);
}

Folder::Folder(Folder&& other) noexcept : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}

Folder& Folder::operator=(Folder&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  return *this;
}

int64_t Folder::size_of_file(const std::string& name) const {
  struct stat status {};
  if (retried([&] { return ::fstatat(fd_, name.c_str(), &status, AT_SYMLINK_NOFOLLOW); }) != 0) {
    const int error = errno;
    require(error != ENOENT, ExitCode::input, "{} is missing", path_of(name));
    errno = error;
    fail_call("stat", path_of(name));
  }
  require(S_ISREG(status.st_mode), ExitCode::input, "{}: is no regular file", path_of(name));
  return status.st_size;
}

File Folder::open_file(const std::string& name) const {
  // Without O_NONBLOCK a FIFO of that name would hold us for ever.
  constexpr int kFlags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
  const int fd = retried([&] { return ::openat(fd_, name.c_str(), kFlags); });
  if (fd < 0) {
    const int error = errno;
    require(error != ENOENT && error != ELOOP, ExitCode::input, "{} is {}", path_of(name),
            error == ENOENT ? "missing" : "a link");
    errno = error;
    fail_call("open", path_of(name));
  }
  File file(fd, path_of(name));
  file.require_regular();
  return file;
}

File Folder::create_file(const std::string& name) const {
  constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  const std::string path = path_of(name);
  const int fd = writing("open", path, [&] { return ::openat(fd_, name.c_str(), kFlags, 0666); });
  if (fd < 0) fail_call("create", path);
  return {fd, path};
}

File Folder::open_for_writing(const std::string& name) const {
  const std::string path = path_of(name);
  const int fd = writing("open", path, [&] { return ::openat(fd_, name.c_str(), O_WRONLY | O_NOFOLLOW | O_CLOEXEC); });
  if (fd < 0) fail_call("open", path);
  return {fd, path};
}

std::string Folder::read_file(const std::string& name, int64_t max_bytes) const {
  const int64_t bytes = size_of_file(name);
  require(bytes <= max_bytes, ExitCode::input, "{} has {} bytes; at most {} are accepted", path_of(name), bytes,
          max_bytes);
  std::string content(static_cast<size_t>(bytes), '\0');
  open_file(name).read_at(0, content.data(), bytes);
  return content;
}

void Folder::write_file(const std::string& name, std::string_view bytes) const {
  File file = create_file(name);
  file.reserve(static_cast<int64_t>(bytes.size()));
  file.write(bytes);
  file.sync();
  file.close();
}

void Folder::make_folder(const std::string& name) const {
  if (writing("mkdir", path_of(name), [&] { return ::mkdirat(fd_, name.c_str(), 0777); }) != 0)
    fail_call("create the folder", path_of(name));
}

void Folder::rename(const std::string& from, const std::string& to) const {
  if (writing("rename", path_of(to), [&] { return ::renameat(fd_, from.c_str(), fd_, to.c_str()); }) != 0)
    fail_call("rename to " + to, path_of(from));
}

bool Folder::exchange(const std::string& a, const std::string& b) const {
  const auto call = [&] { return ::renameat2(fd_, a.c_str(), fd_, b.c_str(), RENAME_EXCHANGE); };
  if (writing("rename", path_of(b), call) == 0) return true;
  if (errno == EINVAL || errno == ENOSYS) return false;
  fail_call("exchange with " + b, path_of(a));
}

void Folder::set_link(const std::string& name, const std::string& target) const {
  const std::string aside = name + ".new";
  if (writing("unlink", path_of(aside), [&] { return ::unlinkat(fd_, aside.c_str(), 0); }) != 0 && errno != ENOENT)
    fail_call("remove", path_of(aside));
  if (writing("symlink", path_of(aside), [&] { return ::symlinkat(target.c_str(), fd_, aside.c_str()); }) != 0)
    fail_call("create a link", path_of(aside));
  rename(aside, name);
}

void Folder::sync() const {
  // Some file systems have no sync of folders: then there is nothing more that could be done.
  if (writing("fsync", path_.string(), [&] { return ::fsync(fd_); }) != 0 && errno != EINVAL && errno != ENOTSUP)
    fail_call("sync the folder", path_.string());
}

std::vector<std::string> Folder::names() const {
  const int again = retried([&] { return ::openat(fd_, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  if (again < 0) fail_call("list", path_.string());
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(again), ::closedir);
  if (!stream) fail_call("list", path_.string());
  std::vector<std::string> found;
  while (true) {
    errno = 0;
    const dirent* entry = ::readdir(stream.get());
    if (!entry && errno == EINTR) continue;
    if (!entry && errno != 0) fail_call("list", path_.string());
    if (!entry) break;
    const std::string name = entry->d_name;
    if (name != "." && name != "..") found.push_back(name);
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::string random_id() {
  std::random_device device;
  return fmt::format("{:08x}{:08x}", device(), device());
}

namespace {

struct statvfs room_of(const std::filesystem::path& path) {
  struct statvfs status {};
  if (retried([&] { return ::statvfs(path.c_str(), &status); }) != 0) fail_call("ask for free space", path.string());
  return status;
}

}  // namespace

int64_t free_bytes(const std::filesystem::path& path) {
  const struct statvfs room = room_of(path);
  return static_cast<int64_t>((::geteuid() == 0 ? room.f_bfree : room.f_bavail) * room.f_frsize);
}

int64_t free_files(const std::filesystem::path& path) {
  const struct statvfs room = room_of(path);
  const uint64_t files = ::geteuid() == 0 ? room.f_ffree : room.f_favail;
  return room.f_files == 0 || files > INT64_MAX ? INT64_MAX : static_cast<int64_t>(files);  // btrfs has no fixed number
}

}  // namespace switchyard
