// Words and statements of PTX.
#include "tests/simgpu/ptx_text.h"

#include <algorithm>
#include <bit>
#include <cctype>
#include <cstdlib>

namespace switchyard::simgpu {
namespace {
bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
}  // namespace

bool read_type(std::string_view word, Type& type) {
  using Kind = Type::Kind;
  static const std::unordered_map<std::string_view, Type> types = {
      {"pred", {Kind::predicate, 1}}, {"bf16", {Kind::half, 16}},  {"f16", {Kind::half, 16}},
      {"bf16x2", {Kind::pair, 32}},   {"f16x2", {Kind::pair, 32}}, {"b8", {Kind::bits, 8}},
      {"b16", {Kind::bits, 16}},      {"b32", {Kind::bits, 32}},   {"b64", {Kind::bits, 64}},
      {"b128", {Kind::bits, 128}},    {"s8", {Kind::s, 8}},        {"s16", {Kind::s, 16}},
      {"s32", {Kind::s, 32}},         {"s64", {Kind::s, 64}},      {"u8", {Kind::u, 8}},
      {"u16", {Kind::u, 16}},         {"u32", {Kind::u, 32}},      {"u64", {Kind::u, 64}},
      {"f32", {Kind::f, 32}},         {"f64", {Kind::f, 64}}};
  const auto found = types.find(word);
  if (found == types.end()) return false;
  type = found->second;
  return true;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  int depth = 0;
  size_t begin = 0;
  auto take = [&](size_t end) {
    const std::string_view part = trim(text.substr(begin, end - begin));
    if (!part.empty()) parts.push_back(part);
    begin = end + 1;
  };
  for (size_t k = 0; k < text.size(); ++k) {
    const char c = text[k];
    if (c == '[' || c == '{' || c == '(') ++depth;
    if (c == ']' || c == '}' || c == ')') --depth;
    if (c == separator && depth == 0) take(k);
  }
  take(text.size());
  return parts;
}

std::vector<std::string_view> elements(std::string_view text) {
  if (!text.starts_with('{')) return {text};
  return split(text.substr(1, text.rfind('}') - 1), ',');
}

bool is_number(std::string_view text) {
  if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
  return !text.empty() && std::isdigit(static_cast<unsigned char>(text[0]));
}

uint64_t number(std::string_view word, Type type) {
  const std::string text(word);
  const bool wide = type.kind == Type::Kind::f && type.bits == 64;
  if (text.starts_with("0f") || text.starts_with("0F")) {
    const auto bits = static_cast<uint32_t>(std::strtoul(text.c_str() + 2, nullptr, 16));
    return wide ? std::bit_cast<uint64_t>(double{std::bit_cast<float>(bits)}) : bits;
  }
  if (text.starts_with("0d") || text.starts_with("0D")) return std::strtoull(text.c_str() + 2, nullptr, 16);
  if (type.kind == Type::Kind::f && !text.starts_with("0x")) {
    const double value = std::strtod(text.c_str(), nullptr);
    return wide ? std::bit_cast<uint64_t>(value) : std::bit_cast<uint32_t>(static_cast<float>(value));
  }
  if (text.starts_with('-')) return static_cast<uint64_t>(std::strtoll(text.c_str(), nullptr, 0));
  return std::strtoull(text.c_str(), nullptr, 0);
}

void Reader::blanks() {
  for (; at_ < text_.size(); ++at_) {
    const char c = text_[at_];
    if (c == '\n') ++line_;
    if (is_blank(c)) continue;
    if (text_.substr(at_, 2) == "//") {
      at_ = std::min(text_.find('\n', at_), text_.size()) - 1;
    } else if (text_.substr(at_, 2) == "/*") {
      const size_t end = text_.find("*/", at_);
      line_ +=
          static_cast<uint32_t>(std::count(text_.begin() + at_, text_.begin() + std::min(end, text_.size()), '\n'));
      at_ = std::min(end, text_.size()) + 1;
    } else {
      return;
    }
  }
}

bool Reader::at_end() {
  blanks();
  return at_ >= text_.size();
}

bool Reader::starts_with_word(std::string_view word) const {
  const size_t after = at_ + word.size();
  return starts_with(word) && (after >= text_.size() || is_blank(text_[after]));
}

std::string_view Reader::line() {
  const size_t begin = at_;
  at_ = std::min(text_.find('\n', at_), text_.size());
  return text_.substr(begin, at_ - begin);
}

std::string_view Reader::statement() {
  const size_t begin = at_;
  int depth = 0;
  for (; at_ < text_.size(); ++at_) {
    const char c = text_[at_];
    if (c == '\n') ++line_;
    if (c == ';' && depth == 0) {
      ++at_;
      return trim(text_.substr(begin, at_ - 1 - begin));
    }
    if (c == '{') ++depth;
    if (c == '}' && depth-- == 0) break;
    if (c == ':' && text_.substr(at_, 2) != "::" && text_[at_ - 1] != ':') {
      const std::string_view label = trim(text_.substr(begin, at_ - begin));
      if (label.find_first_of(" \t@{[") == std::string_view::npos) {
        ++at_;
        return text_.substr(begin, at_ - begin);
      }
    }
  }
  return trim(text_.substr(begin, at_ - begin));
}

std::string_view Reader::up_to(char c) {
  const size_t begin = at_;
  while (at_ < text_.size() && text_[at_] != c) line_ += text_[at_++] == '\n';
  return text_.substr(begin, at_ - begin);
}

std::string_view Reader::block() {
  const size_t begin = at_;
  int depth = 0;
  do {
    const char c = peek();
    if (c == '\n') ++line_;
    if (c == '{') ++depth;
    if (c == '}') --depth;
    ++at_;
  } while (depth && at_ < text_.size());
  return text_.substr(begin, at_ - begin);
}

Declaration read_declaration(std::string_view statement) {
  Declaration d;
  if (const size_t equals = statement.find('='); equals != std::string_view::npos) {
    d.values = trim(statement.substr(equals + 1));
    if (d.values.starts_with('{')) d.values = d.values.substr(1, d.values.rfind('}') - 1);
    statement = statement.substr(0, equals);
  }
  std::string_view name;
  bool align_next = false, pointer = false;  // .ptr: what follows says what a parameter points to
  size_t at = 0;
  while (at < statement.size()) {
    while (at < statement.size() && is_blank(statement[at])) ++at;
    size_t end = at;
    while (end < statement.size() && !is_blank(statement[end])) ++end;
    const std::string_view word = statement.substr(at, end - at);
    at = end;
    if (word.empty()) continue;
    if (align_next) {
      if (!pointer) d.align = static_cast<uint32_t>(number(word, {}));
      align_next = false;
    } else if (word == ".align") {
      align_next = true;
    } else if (word == ".ptr") {
      pointer = true;
    } else if (word == ".extern") {
      d.open = true;
    } else if (word == ".shared" || word == ".global" || word == ".const" || word == ".local" || word == ".param") {
      d.space = word.substr(1);
    } else if (word.starts_with('.')) {
      read_type(word.substr(1), d.type);
    } else {
      name = trim(statement.substr(end - word.size()));  // dimensions may be set off by blanks
      break;
    }
  }
  d.element_bytes = static_cast<uint32_t>(std::max(1, d.type.bits / 8));
  d.align = std::max(d.align, d.element_bytes);
  const size_t bracket = name.find('[');
  d.name = trim(name.substr(0, bracket));
  for (size_t b = bracket; b != std::string_view::npos; b = name.find('[', b + 1)) {
    const std::string_view size = trim(name.substr(b + 1, name.find(']', b) - b - 1));
    if (size.empty()) {
      d.open = true;
    } else {
      d.count *= number(size, {});
    }
  }
  return d;
}

}  // namespace switchyard::simgpu
