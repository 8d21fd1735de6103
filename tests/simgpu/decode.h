// From the text of a kernel to instructions that run. An ordinary instruction is one row of a table: its key (opcode,
// what selects its meaning, types), the handler, and the types of its operands. Others have a decoder of their own.
#pragma once

#include <optional>

#include "tests/simgpu/warp.h"

namespace switchyard::simgpu {

// Parts of an opcode that do not select the handler. A row names those that it honours; any other is refused.
enum Modifier : uint32_t { kNearest = 1, kRounding = 2, kFtz = 4, kSat = 8, kApprox = 16 };
constexpr uint32_t kFloatModes = kNearest | kRounding | kFtz | kSat;

struct Row {
  Handler run = nullptr;
  uint32_t modifiers = 0;
  Type destination{};
  std::vector<Type> sources{};
  bool selects = false;  // the result is one of the operands: .ftz has to flush it
};

template <class T>
constexpr Type type_of() {
  using Kind = Type::Kind;
  if (std::is_same_v<T, Pred>) return {Kind::predicate, 1};
  const bool real = std::is_floating_point_v<T>, whole = std::is_integral_v<T>;
  return {real                  ? Kind::f
          : is_half<T>          ? Kind::half
          : !whole              ? Kind::pair
          : std::is_signed_v<T> ? Kind::s
                                : Kind::u,
          8 * sizeof(T)};
}
template <class T>
std::string name_of() {
  if (std::is_same_v<T, Pred>) return "pred";
  if (std::is_same_v<T, BF16>) return "bf16";
  if (std::is_same_v<T, F16>) return "f16";
  if (std::is_same_v<T, Pair<BF16>>) return "bf16x2";
  if (std::is_same_v<T, Pair<F16>>) return "f16x2";
  return "bsuf"[static_cast<int>(type_of<T>().kind)] + std::to_string(8 * sizeof(T));
}
// `name` with its type; one that ends in .b is followed by the width alone.
template <class T>
std::string key_of(const std::string& name) {
  return name + (name.ends_with(".b") ? name_of<T>().substr(1) : '.' + name_of<T>());
}

template <class... T>
struct Types {};

class Table {
 public:
  static const Table& get();
  const std::unordered_map<std::string, Row>& rows() const { return rows_; }
  // d = f(sources), of types D and S; or of one type, once for each in a list.
  template <class D, class... S, class F>
  void row(const std::string& key, F, uint32_t modifiers = 0, bool selects = false) {
    rows_[key] = {apply<F, D, S...>, modifiers, type_of<D>(), {type_of<S>()...}, selects};
  }
  template <int sources, class... T, class F>
  void rows(Types<T...>, const std::string& name, F f, uint32_t modifiers = 0, bool selects = false) {
    if constexpr (sources == 1) (row<T, T>(key_of<T>(name), f, modifiers, selects), ...);
    if constexpr (sources == 2) (row<T, T, T>(key_of<T>(name), f, modifiers, selects), ...);
    if constexpr (sources == 3) (row<T, T, T, T>(key_of<T>(name), f, modifiers, selects), ...);
  }

 private:
  std::unordered_map<std::string, Row> rows_;
};
void add_integer_rows(Table& table);
void add_real_rows(Table& table);
void add_conversion_rows(Table& table);
void add_select_rows(Table& table);

constexpr Type kBits{Type::Kind::bits, 32}, kPredicate{Type::Kind::predicate, 1}, kAddress{Type::Kind::u, 64};

// Reads one kernel. Decoders get it with one instruction taken apart, and fill `out`.
class KernelReader {
 public:
  KernelReader(const Module& module, const std::string& name, std::string_view text, uint32_t line);
  std::unique_ptr<Function> read();

  Instruction out{};
  std::string_view opcode{};  // all of it, and its words
  std::vector<std::string_view> words{}, arguments{};
  std::vector<Type> types{};

  bool has(std::string_view word) const;
  bool only(std::string_view allowed) const;  // besides types: nothing else in the opcode
  Type type() const { return types.empty() ? Type{} : types.back(); }
  [[noreturn]] void refuse(const std::string& why = "unknown instruction") const;
  void require(bool known) const {
    if (!known) refuse();
  }
  Operand source(std::string_view text, Type type);  // a predicate may be negated
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
  Operand temporary(int bits) { return allocate(bits); }
  void before(Handler run, Operand d, Operand a);  // a helper of the instruction: it runs first, or last
  void after(Handler run, Operand d, Operand a, Operand b = {}, Operand c = {});
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
  Operand new_constant(uint64_t value, int bits);
  void place(Variable& variable, uint32_t& used) const;
  void modes(uint32_t modifiers);
  void read_head();
  void read_body();
  void read_location(std::string_view text);
  void read_registers();
  void read_instruction();
  void finish_constants();

  const Module& module_;
  std::unique_ptr<Function> function_ = std::make_unique<Function>();
  Reader reader_;
  std::string_view statement_{};
  std::map<std::string, Register, std::less<>> registers_{};  // a name means what the innermost scope declared
  std::vector<std::vector<std::pair<std::string, Register>>> hidden_{};  // of each open scope: what it hides outside
  void leave_scope() {
    for (auto at = hidden_.back().rbegin(); at != hidden_.back().rend(); ++at) registers_[at->first] = at->second;
    hidden_.pop_back();
  }
  Variables variables_{};  // also the module's shared ones, as this kernel places them
  std::map<std::string_view, uint32_t> labels_{};
  std::vector<std::pair<size_t, std::string_view>> branches_{};
  std::map<std::pair<uint64_t, int>, Operand> constants_{};
  std::vector<std::pair<Operand, int>> dynamic_addresses_{};  // filled once the size of the static part is known
  std::string_view branch_{};
  std::vector<Instruction> after_{};
  Instruction location_{};
};
using Decoder = void (*)(KernelReader&);
using Decoders = std::map<std::string_view, Decoder>;
void add_memory_decoders(Decoders& decoders);
void add_atomic_decoders(Decoders& decoders);
std::vector<std::string> atomic_keys();  // add.s32
void add_warp_decoders(Decoders& decoders);
void add_matrix_decoders(Decoders& decoders);
void add_select_decoders(Decoders& decoders);

}  // namespace switchyard::simgpu
