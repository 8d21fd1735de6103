// Where a failed check becomes an exception, and an exception an exit code.
#include "switchyard/base/error.h"

#include <filesystem>
#include <string_view>

namespace switchyard {

ExitCode code_of(const std::exception& error) {
  if (const auto* own = dynamic_cast<const Error*>(&error)) return own->code();
  return dynamic_cast<const std::filesystem::filesystem_error*>(&error) ? ExitCode::io : ExitCode::internal;
}

void fail_check(const std::source_location& where, const std::string& message) {
  std::string_view file = where.file_name();
  if (const auto slash = file.rfind('/'); slash != std::string_view::npos) file.remove_prefix(slash + 1);
  throw Error(ExitCode::internal, fmt::format("{} ({}:{})", message, file, where.line()));
}

}  // namespace switchyard
