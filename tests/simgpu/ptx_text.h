// Words and statements of PTX.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace switchyard::simgpu {

struct Type {
  enum class Kind : uint8_t { bits, s, u, f, half, pair, predicate };  // half: bf16, f16; pair: two of them
  Kind kind = Kind::bits;
  int bits = 32;
  bool is_float() const { return kind == Kind::f || kind == Kind::half || kind == Kind::pair; }
};
bool read_type(std::string_view word, Type& type);  // without its dot

std::string_view trim(std::string_view text);
std::vector<std::string_view> split(std::string_view text, char separator);  // not within brackets; without empty parts
std::vector<std::string_view> elements(std::string_view text);               // of {a, b}, or the text itself
bool is_number(std::string_view text);
uint64_t number(std::string_view text, Type type = {});  // as bits of the type
std::string without_comments(std::string text);          // blanks instead, lines kept

// Walks over text that has no comments, and counts lines.
struct Reader {
  std::string_view text;
  uint32_t line = 1;
  size_t at = 0;

  bool at_end();  // after blanks
  bool starts_with_word(std::string_view word) const;
  char peek() const { return at < text.size() ? text[at] : '\0'; }
  std::string_view take(size_t end);  // up to there
  std::string_view rest_of_line() { return take(text.find('\n', at)); }
  std::string_view up_to(char c) { return take(text.find(c, at)); }
  std::string_view block();      // {...}, whole
  std::string_view statement();  // to its semicolon, which is passed; a label with its colon
};

// .space [.align n] .type name[dimensions] [= values]
struct Declaration {
  std::string_view space, name, values;
  uint32_t align = 1, element_bytes = 1;
  uint64_t count = 1;
  bool open = false;  // an array without a size, or .extern: dynamic shared memory
  Type type;
  uint32_t bytes() const { return static_cast<uint32_t>(count * element_bytes); }
};
Declaration read_declaration(std::string_view statement);

}  // namespace switchyard::simgpu
