// PTX as the engine runs it: a module's kernels, each a list of instructions that are decoded when it is first asked
// for. A register is 32 slots, one for each lane, of 4 bytes (up to 32 bits) or 8; a predicate is one bit for each
// lane.
#pragma once

#include <array>
#include <climits>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tests/simgpu/memory.h"

namespace switchyard::simgpu {

struct Warp;
struct Instruction;
using Handler = void (*)(Warp&, const Instruction&, uint32_t active);

struct Operand {  // at >= 0: byte in the warp's registers; at < 0: byte before the end of the kernel's constants
  int32_t at = INT32_MIN;
  explicit operator bool() const { return at != INT32_MIN; }
};
enum class Flow : uint8_t { next, branch, exit, barrier };
enum class MemoryOrder : uint8_t { weak, strong, synchronizes };  // volatile, relaxed; acquire, release
enum BarrierKind : uint8_t { kSync, kArrive, kCount, kAllOf, kAnyOf };

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
  std::array<Operand, 14> list{};  // elements of vectors
  int64_t immediate = 0;
  uint32_t file = 0, line = 0, from_file = 0, from_line = 0, ptx_line = 0;  // from: where it was inlined
  std::string_view text{};
  mutable Window window{};  // cleared when a launch begins: memory is not freed while one runs
};

struct Variable {
  enum class Kind : uint8_t { memory, shared, dynamic_shared, local, parameter };
  Kind kind = Kind::memory;
  uint64_t offset = 0;  // or the address
  uint32_t bytes = 0, align = 1;
};
using Variables = std::map<std::string, Variable, std::less<>>;

struct Extent {
  uint32_t x = 1, y = 1, z = 1;
  uint64_t count() const { return uint64_t{x} * y * z; }
};
struct LaneInfo {
  Extent block, grid;
  uint32_t thread, index, dynamic_shared, shared;  // index: of the block
};
using SpecialValue = uint32_t (*)(const LaneInfo&);
const std::map<std::string_view, SpecialValue>& special_registers();  // tid.x

class Module;
struct Function {
  const Module* module = nullptr;
  std::string name{}, readable_name{};
  std::vector<Variable> parameters{};
  uint32_t parameter_bytes = 0, shared_bytes = 0, local_bytes = 0, register_bytes = 0, max_threads = 1024;
  bool uses_dynamic_shared = false;
  std::vector<Instruction> code{};
  std::vector<std::pair<SpecialValue, Operand>> specials{};
  std::vector<uint8_t> constants{};
  uint32_t dynamic_shared_begin() const { return (shared_bytes + 15) / 16 * 16; }
};

class Module {
 public:
  explicit Module(std::string text);
  ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;
  Function* find(const std::string& name);  // nullptr if it has no such kernel; throws Fault for what is unknown in it
  const Variables& variables() const { return variables_; }
  std::string file(uint32_t number) const;  // without its folder

 private:
  struct Entry {
    std::string_view text;  // from the parameters to the end of its body
    uint32_t line = 1;
    std::unique_ptr<Function> function{};
  };
  void read();
  void read_variable(std::string_view statement);

  std::string text_;
  std::map<std::string, Entry, std::less<>> entries_;
  Variables variables_;
  std::map<uint32_t, std::string> files_;
  std::vector<Allocation*> allocations_;
};

std::string readable(const std::string& mangled);

// ---- words and statements

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

struct Reader {  // walks over text that has no comments, and counts lines
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

struct Declaration {  // .space [.align n] .type name[dimensions] [= values]
  std::string_view space{}, name{}, values{};
  uint32_t align = 1, element_bytes = 1;
  uint64_t count = 1;
  bool open = false;  // an array without a size, or .extern: dynamic shared memory
  Type type{};
  uint32_t bytes() const { return static_cast<uint32_t>(count * element_bytes); }
};
Declaration read_declaration(std::string_view statement);

}  // namespace switchyard::simgpu
