// UTF-8 validation, suggestions and safe printing.
#include "text.h"

#include "switchyard/base/utf8.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace switchyard::config {
namespace {

bool is_control(char c) { return (c >= 0 && c < 0x20) || c == 0x7f; }

// Edits that turn a into b: insert, delete, replace, swap neighbours.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) {
    for (size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        d[i][j] = i + j;
        continue;
      }
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  }
  return d[a.size()][b.size()];
}

}  // namespace

std::optional<BadByte> find_bad_byte(std::string_view text) {
  int64_t line = 1;
  for (size_t i = 0; i < text.size();) {
    const size_t length = utf8_length(text.substr(i, 4));
    const unsigned byte = static_cast<unsigned char>(text[i]);
    if (length == 0) return BadByte{line, fmt::format("byte 0x{:02x} is not valid UTF-8", byte)};
    if (is_control(text[i]) && text[i] != '\t' && text[i] != '\n' && text[i] != '\r')
      return BadByte{line, fmt::format("control character 0x{:02x}", byte)};
    line += text[i] == '\n' ? 1 : 0;
    i += length;
  }
  return std::nullopt;
}

std::string nearest(std::string_view name, std::span<const std::string> candidates) {
  std::string best;
  size_t best_distance = std::max<size_t>(name.size() / 3, 1) + 1;  // one third of the letters may be wrong
  if (name.size() > 64) return best;
  for (const std::string& candidate : candidates) {
    const size_t distance = edit_distance(name, candidate);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

std::string join(std::span<const std::string_view> items, std::string_view separator) {
  return fmt::format("{}", fmt::join(items, separator));
}

std::string printable(std::string_view text) {
  constexpr size_t kLongest = 200;
  std::string out;
  for (size_t i = 0; i < text.size() && i < kLongest;) {
    const size_t length = utf8_length(text.substr(i, 4));
    if (length == 0 || is_control(text[i]))
      out += '?';
    else
      out += text.substr(i, length);
    i += std::max<size_t>(length, 1);
  }
  return text.size() > kLongest ? out + "..." : out;
}

}  // namespace switchyard::config
