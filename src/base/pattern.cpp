// Patterns through the C library.
#include "switchyard/base/pattern.h"

#include <algorithm>

#include <fnmatch.h>

namespace switchyard {

bool matches_any(const std::vector<std::string>& patterns, const std::string& name) {
  return std::ranges::any_of(patterns, [&](const std::string& p) { return fnmatch(p.c_str(), name.c_str(), 0) == 0; });
}

}  // namespace switchyard
