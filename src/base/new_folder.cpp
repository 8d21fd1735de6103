// Renaming onto an empty folder replaces it, and fails if it is empty no more.
#include "switchyard/base/new_folder.h"

#include "switchyard/base/folder.h"

#include "base/system_call.h"

namespace switchyard {

namespace fs = std::filesystem;

NewFolder::NewFolder(const fs::path& target) {
  target_ = fs::absolute(target).lexically_normal();
  if (!target_.has_filename()) target_ = target_.parent_path();  // "out/"
  std::error_code error;
  const bool is_free =
      !fs::exists(target_, error) || (fs::is_directory(target_, error) && fs::is_empty(target_, error));
  require(is_free, ExitCode::usage, "{} exists; accepted: a path where nothing is yet, or an empty folder",
          target.string());
  const std::string name = fmt::format(".{}.tmp-{}", target_.filename().string(), random_id());
  fs::create_directories(target_.parent_path(), error);
  Folder(target_.parent_path()).make_folder(name);
  aside_ = target_.parent_path() / name;
}

NewFolder::~NewFolder() {
  std::error_code ignored;
  if (!aside_.empty()) fs::remove_all(aside_, ignored);
}

void NewFolder::commit() {
  Folder(aside_).sync();
  const Folder parent(target_.parent_path());
  parent.rename(aside_.filename().string(), target_.filename().string());
  parent.sync();
  aside_.clear();
}

}  // namespace switchyard
