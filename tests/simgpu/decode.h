// From the text of a kernel to instructions that run. An ordinary instruction is one row of a table: its key (opcode,
// what selects its meaning, types), the handler, and the types of its operands. Others have a decoder of their own.
#pragma once

#include "tests/simgpu/lanes.h"
#include "tests/simgpu/ptx_text.h"

namespace switchyard::simgpu {

// Parts of an opcode that do not select the handler. A row names those that it honours; any other is refused.
enum Modifier : uint32_t { kNearest = 1, kRounding = 2, kFtz = 4, kSat = 8, kApprox = 16 };
constexpr uint32_t kFloatModes = kNearest | kRounding | kFtz | kSat;

struct Row {
  Handler run = nullptr;
  uint32_t modifiers = 0;
  Type destination;
  std::vector<Type> sources;
  bool selects = false;  // the result is one of the operands: .ftz has to flush it
};

template <class T>
constexpr Type type_of() {
  using Kind = Type::Kind;
  constexpr Kind kind = std::is_floating_point_v<T> ? Kind::f
                        : is_half<T>                ? Kind::half
                        : !std::is_integral_v<T>    ? Kind::pair
                        : std::is_signed_v<T>       ? Kind::s
                                                    : Kind::u;
  return {kind, 8 * sizeof(T)};
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

template <class... T>
struct Types {};

class Table {
 public:
  static const Table& get();
  const std::unordered_map<std::string, Row>& rows() const { return rows_; }
  void add(const std::string& key, Row row) { rows_[key] = std::move(row); }

  // d = f(sources), of types D and S; or of one type, once for each in a list. A name in .b is followed by the width
  // alone.
  template <class D, class... S, class F>
  void row(const std::string& key, F, uint32_t modifiers = 0, bool selects = false) {
    add(key, {apply<F, D, S...>, modifiers, type_of<D>(), {type_of<S>()...}, selects});
  }
  template <int sources, class... T, class F>
  void rows(Types<T...>, const std::string& name, F f, uint32_t modifiers = 0, bool selects = false) {
    auto key = [&](std::string type) { return name + (name.ends_with(".b") ? type.substr(1) : '.' + type); };
    if constexpr (sources == 1) (row<T, T>(key(name_of<T>()), f, modifiers, selects), ...);
    if constexpr (sources == 2) (row<T, T, T>(key(name_of<T>()), f, modifiers, selects), ...);
    if constexpr (sources == 3) (row<T, T, T, T>(key(name_of<T>()), f, modifiers, selects), ...);
  }

 private:
  std::unordered_map<std::string, Row> rows_;
};
void add_integer_rows(Table& table);
void add_real_rows(Table& table);
void add_conversion_rows(Table& table);
void add_select_rows(Table& table);

// One instruction while it is decoded.
class FunctionReader;
struct Decoding {
  FunctionReader& reader;
  Instruction& out;
  std::string_view opcode;              // all of it
  std::vector<std::string_view> words;  // of the opcode
  std::vector<std::string_view> arguments;
  std::vector<Type> types;

  bool has(std::string_view word) const;
  bool only(std::initializer_list<std::string_view> allowed) const;  // besides types: nothing else in the opcode
  Type type() const { return types.empty() ? Type{} : types.back(); }
  Operand source(size_t argument, Type type);
  Operand source(std::string_view text, Type type);
  Operand destination(std::string_view text, Type type);
  void destinations(Type type);              // d, or d|p, from the first argument
  Operand predicate(std::string_view text);  // sets out.negated_operand for !p
  void address(size_t argument);             // source[0], immediate
  void list(std::string_view text, Type type, bool is_destination, size_t at = 0);  // into out.list and out.count
  void modes(uint32_t modifiers);  // runs out.run with this rounding and flushing
  uint64_t constant(size_t argument) const;
  [[noreturn]] void refuse(const std::string& why = "unknown instruction") const;
  void require(bool known) const {
    if (!known) refuse();
  }
};
using Decoder = void (*)(Decoding&);
using Decoders = std::unordered_map<std::string_view, Decoder>;
void add_memory_decoders(Decoders& decoders);
void add_atomic_decoders(Decoders& decoders);
void add_warp_decoders(Decoders& decoders);
void add_matrix_decoders(Decoders& decoders);
void add_select_decoders(Decoders& decoders);

void decode(FunctionReader& reader, Instruction& out, std::string_view text);  // without its predicate
std::unique_ptr<Function> read_function(const Module& module, const std::string& name, std::string_view text,
                                        uint32_t line);

}  // namespace switchyard::simgpu
