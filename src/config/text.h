// Text helpers of this module.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace switchyard::config {

struct BadByte {
  int64_t line;  // from 1
  std::string what;
};
std::optional<BadByte> find_bad_byte(
    std::string_view text);  // invalid UTF-8, or a control character other than tab and newline

// The candidate nearest to `name` by edit distance, or empty if none is near.
std::string nearest(std::string_view name, std::span<const std::string> candidates);

std::string join(std::span<const std::string_view> items, std::string_view separator);
std::string printable(std::string_view text);  // control characters and invalid UTF-8 become '?', long text is cut

}  // namespace switchyard::config
