// Where a failed check becomes an exception.
#include "switchyard/base/error.h"

#include <string_view>

namespace switchyard {

void fail_check(const std::source_location& where, const std::string& message) {
  std::string_view file = where.file_name();
  if (const auto slash = file.rfind('/'); slash != std::string_view::npos) file.remove_prefix(slash + 1);
  throw Error(ExitCode::internal, fmt::format("{} ({}:{})", message, file, where.line()));
}

}  // namespace switchyard
