// Files and folders through system calls whose every result is looked at. Interrupted calls are repeated, short reads
// and writes continued; all else throws Error(io) with the path and the system's reason. Files are opened relative to
// an open folder, by plain name, and links are not followed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace switchyard::checkpoint {

namespace fs = std::filesystem;

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

// A folder that is open, so that what is in it does not depend on its path staying the same.
class Folder {
 public:
  explicit Folder(const fs::path& path);  // must exist
  const fs::path& path() const { return path_; }
  std::string path_of(std::string_view name) const { return (path_ / name).string(); }

  int64_t size_of_file(const std::string& name) const;    // Error(input) if it is missing or no plain file
  Descriptor open_file(const std::string& name) const;    // for reading
  Descriptor create_file(const std::string& name) const;  // must not exist
  std::string read_file(const std::string& name, int64_t max_bytes) const;
  void write_file(const std::string& name, std::string_view bytes) const;  // created, written, on the disk
  void make_folder(const std::string& name) const;
  void rename(const std::string& from, const std::string& to) const;  // `to` must not exist, or be a file
  bool exchange(const std::string& a, const std::string& b) const;    // false where the file system cannot
  void remove_file(const std::string& name) const;
  void set_link(const std::string& name, const std::string& target) const;  // replaces a link `name` in one step
  void sync() const;
  std::vector<std::string> names() const;  // sorted, without . and ..

 private:
  fs::path path_;
  Descriptor fd_;
};

void read_at(const Descriptor& file, int64_t position, void* data, size_t bytes, const std::string& path);
void write_all(const Descriptor& file, const void* data, size_t bytes, const std::string& path);
void reserve(const Descriptor& file, int64_t bytes, const std::string& path);  // disk space; no error where unsupported
void sync_and_close(Descriptor file, const std::string& path);
int64_t free_bytes(const fs::path& path);  // that this user may fill
bool remove_tree(const fs::path& path);    // true if it is gone

// Fault injection for tests: asked before each call that writes, on the thread that makes it; an errno makes the call
// fail.
using FaultHook = std::function<int(std::string_view call, std::string_view path)>;
void set_fault_hook(FaultHook hook);

}  // namespace switchyard::checkpoint
