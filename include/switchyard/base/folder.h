// A folder that is open, so that what is in it does not depend on its path staying the same. Files are opened relative
// to it, by plain name, and links are not followed. Failures throw as in file.h.
#pragma once

#include "switchyard/base/file.h"

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard {

class Folder {
 public:
  explicit Folder(const std::filesystem::path& path);  // must exist
  ~Folder();
  Folder(Folder&& other) noexcept;
  Folder& operator=(Folder&& other) noexcept;

  const std::filesystem::path& path() const { return path_; }
  std::string path_of(std::string_view name) const { return (path_ / name).string(); }

  int64_t size_of_file(const std::string& name) const;   // Error(input) if it is missing or no regular file
  File open_file(const std::string& name) const;         // for reading; Error(input) as above
  File create_file(const std::string& name) const;       // for writing; must not exist
  File open_for_writing(const std::string& name) const;  // an existing file, as it is
  std::string read_file(const std::string& name, int64_t max_bytes) const;
  void write_file(const std::string& name, std::string_view bytes) const;  // created, written, on the disk
  void make_folder(const std::string& name) const;
  void rename(const std::string& from, const std::string& to) const;        // `to` must not exist, or be a file
  bool exchange(const std::string& a, const std::string& b) const;          // false where the file system cannot
  void set_link(const std::string& name, const std::string& target) const;  // replaces a link `name` in one step
  void sync() const;                       // its names; no error where the file system has no such call
  std::vector<std::string> names() const;  // sorted, without . and ..

 private:
  std::filesystem::path path_;
  int fd_ = -1;
};

std::string random_id();                                // 16 hexadecimal digits, for a name that nothing else has
int64_t free_bytes(const std::filesystem::path& path);  // of its file system, that this user may fill
int64_t free_files(const std::filesystem::path& path);  // that may still be made there; INT64_MAX: it counts none

}  // namespace switchyard
