// Files by descriptor: every call's result is looked at, interrupted calls go on, short reads and writes are completed.
// A failure throws with path and reason: a missing input is Error(input), a failed system call Error(io).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

namespace switchyard {

class File {
 public:
  File() = default;
  File(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}  // takes over an open descriptor
  static File open(const std::string& path);                           // an existing regular file, for reading
  static File create(const std::string& path);                         // for writing; emptied if it exists
  static File append(const std::string& path);                         // every write goes to the end
  ~File();
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;

  bool is_open() const { return fd_ >= 0; }
  const std::string& path() const { return path_; }
  int64_t size() const;                                          // now
  int64_t read_some(void* out, int64_t bytes);                   // 0 at the end
  void read_at(int64_t offset, void* out, int64_t bytes) const;  // all of them; Error(input) at the end of the file
  void write(std::string_view bytes);                            // all of them
  void write_at(int64_t offset, std::string_view bytes);
  bool try_write(std::string_view bytes, int64_t& written) noexcept;  // for files whose loss must not end a run
  void require_regular() const;  // Error(input) if it is a folder, device, pipe or socket
  void reserve(int64_t bytes);   // disk space from the start of the file; no error where the file system cannot
  void truncate(int64_t size);
  void sync();
  void close();  // throws what closing finds out; the destructor does not

 private:
  int fd_ = -1;
  std::string path_;
};

std::string read_file(const std::string& path);
void rename_file(const std::string& from, const std::string& to);
void sync_folder_of(const std::string& path);
// Written aside, synced, renamed: a reader sees the old bytes or the new ones.
void replace_file(const std::string& path, std::string_view bytes);
void replace_file(const std::string& path, const std::function<void(File&)>& fill);

// Fault injection for tests: asked before each call that writes, on the thread that makes it, by its name ("open",
// "fallocate", "write", "fsync", "close", "rename", "mkdir", "unlink", "symlink"); an errno makes the call fail.
using FaultHook = std::function<int(std::string_view call, std::string_view path)>;
void set_fault_hook(FaultHook hook);

}  // namespace switchyard
