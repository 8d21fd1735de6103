// The words and statements of PTX.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace switchyard::simgpu {

struct Type {
  enum class Kind : uint8_t { bits, s, u, f, half, predicate };  // half: bf16, f16
  Kind kind = Kind::bits;
  int bits = 32;
};
bool read_type(std::string_view word, Type& type);  // without its dot

std::string_view trim(std::string_view text);
std::vector<std::string_view> split(std::string_view text, char separator);  // not within brackets; without empty parts
std::vector<std::string_view> elements(std::string_view text);               // of {a, b}, or the text itself
bool is_number(std::string_view text);
uint64_t number(std::string_view text, Type type = {});  // as bits of the type

struct Statement {
  std::string_view text;
  char end = ';';     // what ended it: also ':' behind a label, '\n' behind a line such as .loc, and the brackets of
                      // scopes, '{' behind a kernel's head or alone; '\0' at the end of the text
  uint32_t line = 1;  // its last
};
struct Reader {
  std::string_view text;
  uint32_t line = 1;
  size_t at = 0;
  Statement next();
  std::string_view block();           // the rest of a block whose '{' has been read, with its '}'
  std::string_view take(size_t end);  // up to there
};

struct Declaration {  // .space [.align n] .type name[size]
  std::string_view name{};
  uint32_t bytes = 1, align = 1;
  bool is_shared = false, is_open = false;  // open: without a size, dynamic shared memory
};
Declaration read_declaration(std::string_view statement);

}  // namespace switchyard::simgpu
