// A folder that appears whole or not at all: filled under another name beside it, then renamed.
#pragma once

#include <filesystem>

namespace switchyard {

class NewFolder {
 public:
  // `target` must be absent or an empty folder: else Error(usage). Makes the folder to fill.
  explicit NewFolder(const std::filesystem::path& target);
  ~NewFolder();  // removes what was not committed
  NewFolder(const NewFolder&) = delete;
  NewFolder& operator=(const NewFolder&) = delete;

  const std::filesystem::path& path() const { return aside_; }  // to fill
  void commit();                                                // `target` is there, and on the disk

 private:
  std::filesystem::path target_, aside_;
};

}  // namespace switchyard
