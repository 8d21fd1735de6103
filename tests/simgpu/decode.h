// From the text of a kernel to instructions that run. An ordinary instruction is one row of a table: its key (opcode,
// what selects its meaning, types), the handler, and the types of its operands. Others have a decoder of their own.
#pragma once

#include <optional>

#include "tests/simgpu/warp.h"

namespace switchyard::simgpu {

// Parts of an opcode that do not select the handler. A row names those that it honours; any other is refused.
enum Modifier : uint32_t { kNearest = 1, kRounding = 2, kFtz = 4, kSat = 8, kApprox = 16 };

struct Row {
  Handler run = nullptr;
  uint32_t modifiers = 0;
  Type destination{};
  std::vector<Type> sources{};
};

template <class T>
constexpr Type type_of() {
  using Kind = Type::Kind;
  if (std::is_same_v<T, Pred>) return {Kind::predicate, 1};
  return {std::is_floating_point_v<T> ? Kind::f : std::is_signed_v<T> ? Kind::s : Kind::u, 8 * sizeof(T)};
}
template <class T>
std::string name_of() {
  if (std::is_same_v<T, Pred>) return "pred";
  return "bsuf"[static_cast<int>(type_of<T>().kind)] + std::to_string(8 * sizeof(T));
}
// `name` with its type; one that ends in .b is followed by the width alone.
template <class T>
std::string key_of(const std::string& name) {
  return name + (name.ends_with(".b") ? name_of<T>().substr(1) : '.' + name_of<T>());
}

template <class... T>
struct Types {};
using Integers = Types<int16_t, uint16_t, int32_t, uint32_t, int64_t, uint64_t>;
using Words = Types<uint16_t, uint32_t, uint64_t>;  // b16 and so on
using Reals = Types<float, double>;

class KernelReader;
using Decoder = void (*)(KernelReader&);

struct Table {
  static const Table& get();
  std::unordered_map<std::string, Row> rows;
  std::map<std::string_view, Decoder> decoders;  // by the first word
  std::map<std::string, Handler> atomics;        // add.s32

  // d = f(sources), of types D and S; or of one type, once for each in a list.
  template <class D, class... S, class F>
  void row(const std::string& key, F, uint32_t modifiers = 0) {
    rows[key] = {apply<F, D, S...>, modifiers, type_of<D>(), {type_of<S>()...}};
  }
  template <int sources, uint32_t modifiers = 0, class... T, class F>
  void add(Types<T...>, const std::string& name, F f) {
    if constexpr (sources == 1) (row<T, T>(key_of<T>(name), f, modifiers), ...);
    if constexpr (sources == 2) (row<T, T, T>(key_of<T>(name), f, modifiers), ...);
    if constexpr (sources == 3) (row<T, T, T, T>(key_of<T>(name), f, modifiers), ...);
  }
};
void add_arithmetic(Table& table);
void add_moves_and_comparisons(Table& table);
void add_memory(Table& table);
void add_atomics(Table& table);
void add_warp(Table& table);

constexpr Type kBits{Type::Kind::bits, 32}, kPredicate{Type::Kind::predicate, 1}, kAddress{Type::Kind::u, 64};

// Reads one kernel. Decoders get it with one instruction taken apart, and fill `out`.
class KernelReader {
 public:
  KernelReader(const Module& module, const std::string& name, std::string readable_name, std::string_view body,
               uint32_t line);
  std::unique_ptr<Function> read(std::string_view head);

  Instruction out{};
  std::vector<std::string_view> words{}, arguments{};  // of the opcode; behind it
  std::vector<Type> types{};

  bool has(std::string_view word) const;
  bool only(std::string_view allowed) const;  // besides types: nothing else in the opcode
  Type type() const { return types.empty() ? Type{} : types.back(); }
  [[noreturn]] void refuse(const std::string& why = "unknown instruction") const;
  void require(bool known) const {
    if (!known) refuse();
  }
  Operand source(std::string_view text, Type type);
  Operand source(size_t argument, Type type) {
    require(argument < arguments.size());
    return source(arguments[argument], type);
  }
  Operand destination(std::string_view text, Type type);
  void destinations(Type type);   // d, or d|p, from the first argument
  void address(size_t argument);  // source[0], immediate
  void list(std::string_view text, Type type, bool is_destination, size_t at = 0);  // into out.list and out.count
  uint64_t constant(size_t argument) const;
  Operand constant(uint64_t value, int bits);
  Space space() const;  // that the opcode names
  MemoryOrder order() const;
  void branch_to(std::string_view label) { branch_ = label; }
  const Variable* find_variable(std::string_view name);
  void decode_row();

 private:
  struct Register {
    Operand place;
    int bits;
  };
  std::optional<Register> find_register(std::string_view name);
  Operand allocate(int bits);
  void place(Variable& variable, uint32_t& used) const;
  void before(Handler run, Operand d, Operand a);  // a helper of the instruction: it runs first, or last
  void after(Handler run, Operand d, Operand a);
  void read_head(std::string_view head);
  void read_statement(const Statement& statement);
  void read_location(std::string_view text);
  void read_registers();
  void read_instruction(uint32_t line);
  void leave_scope();

  const Module& module_;
  std::unique_ptr<Function> function_ = std::make_unique<Function>();
  Reader reader_;
  std::string_view statement_{};
  std::map<std::string, Register, std::less<>> registers_{};  // a name means what the innermost scope declared
  std::vector<std::vector<std::pair<std::string, Register>>> hidden_{};  // of each open scope: what it hides outside
  Variables variables_{};  // also the module's shared ones, as this kernel places them
  std::map<std::string_view, uint32_t> labels_{};
  std::vector<std::pair<size_t, std::string_view>> branches_{};
  std::map<std::pair<uint64_t, int>, Operand> constants_{};
  std::string_view branch_{};
  std::vector<Instruction> after_{};
  Instruction location_{};
};
}  // namespace switchyard::simgpu
