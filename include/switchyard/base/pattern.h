// Shell patterns for names: * ? [a-z]. A * also matches dots and slashes.
#pragma once

#include <string>
#include <vector>

namespace switchyard {

bool matches_any(const std::vector<std::string>& patterns, const std::string& name);

}  // namespace switchyard
