// PTX as the engine runs it: a module's kernels, each a list of instructions that are decoded when it is first asked
// for (decode.h). A register is 32 slots, one for each lane, of 4 bytes (up to 32 bits) or 8; a predicate is one bit
// for each lane.
#pragma once

#include <array>
#include <string_view>
#include <unordered_map>

#include "tests/simgpu/memory.h"

namespace switchyard::simgpu {

// ---- words and statements

struct Type {
  enum class Kind : uint8_t { bits, s, u, f, predicate };
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

// ---- kernels

struct Warp;
struct Instruction;
using Handler = void (*)(Warp&, const Instruction&, uint32_t active);

struct Operand {  // a byte in the warp's registers, of which some hold constants
  int32_t at = -1;
  explicit operator bool() const { return at >= 0; }
};
enum class Flow : uint8_t { next, branch, exit, barrier };
enum class MemoryOrder : uint8_t { weak, strong, synchronizes };  // volatile, relaxed; acquire, release
enum BarrierKind : uint8_t { kSync, kArrive, kOr };

struct Window {  // the last allocation that an instruction's lanes have been in: neighbours are nearly always in the
                 // same one
  uint64_t begin = 1, end = 0;
  Allocation* allocation = nullptr;
};

struct Instruction {
  Handler run = nullptr;
  Handler inner = nullptr;  // what `run` wraps, for another rounding mode
  Flow flow = Flow::next;
  bool negated = false;  // the predicate that guards it
  Space space = Space::generic;
  MemoryOrder order = MemoryOrder::weak;
  uint8_t kind = 0, count = 0;  // as its handler likes
  uint32_t csr = 0;             // bits of MXCSR while it runs
  int32_t predicate = -1, target = -1;
  Operand d{}, d2{};
  std::array<Operand, 4> source{};
  std::array<Operand, 8> list{};  // elements of vectors
  int64_t immediate = 0;
  uint32_t file = 0, line = 0, from_file = 0, from_line = 0, ptx_line = 0;  // from: where it was inlined
  std::string_view text{};
  mutable Window window{};  // cleared when a launch begins: memory is not freed while one runs
};

struct Variable {
  enum class Kind : uint8_t { shared, dynamic_shared, local, parameter };
  Kind kind = Kind::parameter;
  uint64_t offset = 0;
  uint32_t bytes = 0, align = 1;
};
using Variables = std::map<std::string, Variable, std::less<>>;

using Extent = std::array<uint32_t, 3>;
constexpr uint64_t count_of(Extent e) { return uint64_t{e[0]} * e[1] * e[2]; }
struct SpecialRegister {  // %tid.x
  enum Kind : uint8_t { tid, ntid, ctaid, nctaid };
  Kind kind;
  uint8_t axis;
  Operand place{};
};

struct Constant {
  Operand place;
  int bits;
  uint64_t value;
  bool is_dynamic_shared = false;  // the address of it, which is known at the end
};

class Module;
struct Function {
  const Module* module = nullptr;
  std::string name{}, readable_name{};
  std::vector<Variable> parameters{};
  uint32_t parameter_bytes = 0, shared_bytes = 0, local_bytes = 0, register_bytes = 0, max_threads = 1024;
  bool uses_dynamic_shared = false;
  std::vector<Instruction> code{};
  std::vector<SpecialRegister> specials{};
  std::vector<Constant> constants{};
  uint32_t dynamic_shared_begin() const { return (shared_bytes + 15) / 16 * 16; }
};

std::string ptx_of(const void* fat_binary, int compute_capability);  // throws Fault
class Module {
 public:
  explicit Module(std::string text);
  Function* find(const std::string& name);  // nullptr if it has no such kernel; throws Fault for what is unknown in it
  const Variables& variables() const { return variables_; }
  std::string file(uint32_t number) const;  // without its folder

 private:
  struct Entry {
    std::string_view head, body;
    uint32_t line = 1;  // of the body
    std::unique_ptr<Function> function{};
  };
  std::string text_;
  std::map<std::string, Entry, std::less<>> entries_;
  Variables variables_;  // in shared memory, placed by each kernel that uses them
  std::map<uint32_t, std::string> files_;
};

}  // namespace switchyard::simgpu
