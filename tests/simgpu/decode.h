// From the text of a kernel to instructions that run. An ordinary instruction is one row of a table: its key (opcode,
// what selects its meaning, types), the handler, and the types of its operands. Others have a function of their own.
#pragma once

#include <functional>

#include "tests/simgpu/lanes.h"
#include "tests/simgpu/ptx_text.h"

namespace switchyard::simgpu {

std::unique_ptr<Function> read_function(const Module& module, const std::string& name, std::string_view text,
                                        uint32_t line);

// Parts of an opcode that do not select the handler. A row names those that it honours; any other is refused.
enum Modifier : uint32_t { kNearest = 1, kRounding = 2, kFtz = 4, kSat = 8, kApprox = 16, kNoFtz = 32 };
constexpr uint32_t kFloatModes = kNearest | kRounding | kFtz | kSat;

struct Row {
  Handler run = nullptr;
  uint32_t modifiers = 0;
  Type destination;
  std::vector<Type> sources;
  uint8_t kind = 0;
  bool selects = false;  // the result is one of the operands: .ftz has to flush it
};

template <class T>
constexpr Type type_of() {
  using Kind = Type::Kind;
  constexpr int bits = 8 * sizeof(T);
  if constexpr (std::is_floating_point_v<T>)
    return {Kind::f, bits};
  else if constexpr (std::is_same_v<T, BF16> || std::is_same_v<T, F16>)
    return {Kind::half, bits};
  else if constexpr (!std::is_integral_v<T>)
    return {Kind::pair, bits};
  else if constexpr (std::is_same_v<T, bool>)
    return {Kind::predicate, 1};
  else
    return {std::is_signed_v<T> ? Kind::s : Kind::u, bits};
}

template <class T>
std::string name_of() {
  if constexpr (std::is_same_v<T, BF16>)
    return "bf16";
  else if constexpr (std::is_same_v<T, F16>)
    return "f16";
  else if constexpr (std::is_same_v<T, Pair<BF16>>)
    return "bf16x2";
  else if constexpr (std::is_same_v<T, Pair<F16>>)
    return "f16x2";
  else
    return (std::is_floating_point_v<T> ? "f" : std::is_signed_v<T> ? "s" : "u") + std::to_string(8 * sizeof(T));
}

class Table {
 public:
  static const Table& get();
  const Row* find(const std::string& key) const;
  std::vector<std::string> keys() const;

  void add(const std::string& key, Row row) { rows_[key] = std::move(row); }
  template <class F, class D, class... S>  // d = F(sources), of these types
  void row(const std::string& key, uint32_t modifiers = 0) {
    add(key, {apply<F, D, S...>, modifiers, type_of<D>(), {type_of<S>()...}});
  }
  template <class F, class... T>  // of one, two or three operands of the same type, for each of the types
  void unary(const std::string& name, uint32_t modifiers = 0) {
    (row<F, T, T>(name + '.' + name_of<T>(), modifiers), ...);
  }
  template <class F, class... T>
  void binary(const std::string& name, uint32_t modifiers = 0) {
    (row<F, T, T, T>(name + '.' + name_of<T>(), modifiers), ...);
  }
  template <class F, class... T>
  void ternary(const std::string& name, uint32_t modifiers = 0) {
    (row<F, T, T, T, T>(name + '.' + name_of<T>(), modifiers), ...);
  }

 private:
  std::unordered_map<std::string, Row> rows_;
};
void add_integer_rows(Table& table);
void add_float_rows(Table& table);
void add_half_rows(Table& table);
void add_conversion_rows(Table& table);
void add_select_rows(Table& table);

// One instruction while it is decoded.
class FunctionReader;
void decode(FunctionReader& reader, Instruction& out, std::string_view text);  // without its predicate
struct Decoding {
  FunctionReader& reader;
  Instruction& out;
  std::vector<std::string_view> words;  // of the opcode
  std::vector<std::string_view> arguments;
  std::vector<Type> types;

  std::string_view opcode() const { return words[0]; }
  bool has(std::string_view word) const;
  Type type() const { return types.empty() ? Type{} : types.back(); }
  bool only(std::initializer_list<std::string_view> allowed) const;  // besides types: nothing else in the opcode

  Operand source(size_t argument, Type type);
  Operand source(std::string_view text, Type type);
  Operand destination(std::string_view text, Type type);
  Operand destination(size_t argument, Type type) { return destination(arguments.at(argument), type); }
  Operand predicate(std::string_view text);  // sets out.negated_operand for !p
  void modes(uint32_t modifiers);            // runs out.run with this rounding and flushing
  void address(size_t argument);             // source[0], immediate
  void list(std::string_view text, Type type, bool is_destination, size_t at = 0);  // adds to out.list, out.count
  void branch(std::string_view label);
  uint64_t constant(size_t argument) const;
  [[noreturn]] void refuse(const std::string& why = "unknown instruction") const;
};
using Decoder = void (*)(Decoding&);
void add_memory_decoders(std::unordered_map<std::string_view, Decoder>& decoders);
void add_warp_decoders(std::unordered_map<std::string_view, Decoder>& decoders);
void add_matrix_decoders(std::unordered_map<std::string_view, Decoder>& decoders);
void add_select_decoders(std::unordered_map<std::string_view, Decoder>& decoders);

}  // namespace switchyard::simgpu
