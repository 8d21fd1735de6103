// Words of PTX: types, numbers, lists; and reading a module and a kernel statement by statement.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tests/simgpu/ptx.h"

namespace switchyard::simgpu {

struct Type {
  enum class Kind : uint8_t { bits, s, u, f, half, pair, predicate };  // half: bf16, f16; pair: two of them
  Kind kind = Kind::bits;
  int bits = 32;
  bool is_float() const { return kind >= Kind::f && kind != Kind::predicate; }
};
bool read_type(std::string_view word, Type& type);  // without its dot

std::string_view trim(std::string_view text);
std::vector<std::string_view> split(std::string_view text, char separator);  // not within brackets
std::vector<std::string_view> elements(std::string_view text);               // of {a, b}, or the text itself
bool is_number(std::string_view text);
uint64_t number(std::string_view text, Type type);  // as bits of the type

// A cursor over text that knows its line. Comments count as blanks.
class Reader {
 public:
  Reader(std::string_view text, uint32_t line) : text_(text), line_(line) {}
  bool at_end();  // after blanks
  bool starts_with(std::string_view word) const { return text_.substr(at_).starts_with(word); }
  bool starts_with_word(std::string_view word) const;
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void skip(size_t count) { at_ += count; }
  std::string_view line();         // the rest of it
  std::string_view statement();    // to its semicolon, a label with its colon; comments within become blanks
  std::string_view up_to(char c);  // without it
  std::string_view block();        // {...}, whole
  uint32_t line_number() const { return line_; }
  size_t position() const { return at_; }
  std::string_view from(size_t begin) const { return text_.substr(begin, at_ - begin); }

 private:
  void blanks();
  std::string_view text_;
  size_t at_ = 0;
  uint32_t line_;
};

// .space [.align n] .type name[dimensions] [= values], the dot of the space first.
struct Declaration {
  std::string_view space, name, values;
  uint32_t align = 1, element_bytes = 1;
  uint64_t count = 1;
  bool open = false;  // an array without a size, or .extern: dynamic shared memory
  Type type;
  uint64_t bytes() const { return count * element_bytes; }
};
Declaration read_declaration(std::string_view statement);

}  // namespace switchyard::simgpu
