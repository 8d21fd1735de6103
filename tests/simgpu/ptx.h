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

// The last allocation that an instruction's lanes have been in: neighbours are nearly always in the same one.
struct Window {
  uint64_t begin = 1, end = 0;
  Allocation* allocation = nullptr;
};

struct Instruction {
  Handler run = nullptr;
  Handler inner = nullptr;  // what `run` wraps, for another rounding mode
  Flow flow = Flow::next;
  bool negated = false;          // the predicate that guards it
  bool negated_operand = false;  // a predicate among its operands
  Space space = Space::generic;
  MemoryOrder order = MemoryOrder::weak;
  uint8_t kind = 0, combine = 0, count = 0;  // as its handler likes
  uint8_t rounding = 0;                      // 0 nearest, 1 to zero, 2 down, 3 up
  uint32_t csr = 0;                          // bits of MXCSR while it runs
  int32_t predicate = -1, target = -1;
  Operand d, d2;
  std::array<Operand, 4> source;
  std::array<Operand, 14> list;  // elements of vectors
  int64_t immediate = 0;
  uint32_t file = 0, line = 0, from_file = 0, from_line = 0, ptx_line = 0;  // from: where it was inlined
  std::string_view text;
  mutable Window window;  // cleared when a launch begins: memory is not freed while one runs
};

struct Variable {
  enum class Kind : uint8_t { memory, shared, dynamic_shared, local, parameter };
  Kind kind = Kind::memory;
  uint64_t offset = 0;  // or the address
  uint32_t bytes = 0, align = 1;
};

class Module;
struct Function {
  const Module* module = nullptr;
  std::string name, readable_name;
  std::vector<Variable> parameters;
  uint32_t parameter_bytes = 0, shared_bytes = 0, local_bytes = 0, register_bytes = 0, max_threads = 1024;
  bool uses_dynamic_shared = false;
  std::vector<Instruction> code;
  std::vector<std::pair<std::string, Operand>> specials;  // tid.x and its register
  std::vector<uint8_t> constants;
  uint32_t dynamic_shared_begin() const { return (shared_bytes + 15) / 16 * 16; }
};

class Module {
 public:
  explicit Module(std::string text);
  ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;
  Function* find(const std::string& name);  // nullptr if it has no such kernel; throws Fault for what is unknown in it
  const std::map<std::string, Variable, std::less<>>& variables() const { return variables_; }
  std::string file(uint32_t number) const;  // without its folder

 private:
  struct Entry {
    std::string_view text;  // from the parameters to the end of its body
    uint32_t line = 1;
    std::unique_ptr<Function> function;
  };
  void read();
  void read_variable(std::string_view statement);

  std::string text_;
  std::map<std::string, Entry, std::less<>> entries_;
  std::map<std::string, Variable, std::less<>> variables_;
  std::map<uint32_t, std::string> files_;
  std::vector<Allocation*> allocations_;
};

std::string readable(const std::string& mangled);

}  // namespace switchyard::simgpu
