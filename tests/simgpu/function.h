// Reads a kernel: its parameters, registers, variables and labels. decode.cpp turns its statements into instructions.
#pragma once

#include <fmt/format.h>

#include <optional>

#include "tests/simgpu/decode.h"

namespace switchyard::simgpu {

class FunctionReader {
 public:
  FunctionReader(const Module& module, const std::string& name, std::string_view text, uint32_t line);
  std::unique_ptr<Function> read();

  struct Register {
    Operand place;
    int bits;
  };
  std::optional<Register> find_register(std::string_view name);
  const Variable* find_variable(std::string_view name);
  Operand constant(uint64_t value, int bits);
  Operand variable_address(const Variable& variable, int bits);
  Operand temporary(int bits) { return allocate(bits); }
  void before(Handler run, Operand d, Operand a);  // a helper of the instruction being decoded: it runs first
  void after(Handler run, Operand d, Operand a);
  void branch_to(std::string_view label) { branch_ = label; }
  [[noreturn]] void refuse(const std::string& why) const;  // the statement being read

 private:
  struct Range {  // %r<12>
    Operand first;
    int bits, count;
  };
  struct Scope {
    std::unordered_map<std::string_view, Register> registers;
    std::unordered_map<std::string_view, Range> ranges;
    std::unordered_map<std::string_view, Variable> variables;
  };
  static uint32_t register_size(int bits) { return bits == 1 ? 4 : bits <= 32 ? 128 : 256; }
  Operand allocate(int bits, int count = 1);
  Operand new_constant(uint64_t value, int bits);
  void place_shared(Variable& variable);
  void read_head();
  void read_body();
  void read_location(std::string_view text);
  void read_registers();
  void read_variable();
  void read_instruction();
  void finish_constants();

  const Module& module_;
  std::unique_ptr<Function> function_ = std::make_unique<Function>();
  Reader reader_;
  std::string_view statement_;
  std::vector<Scope> scopes_{1};
  std::unordered_map<std::string_view, uint32_t> labels_;
  std::vector<std::pair<size_t, std::string_view>> branches_;
  std::map<std::pair<uint64_t, int>, Operand> constants_;
  std::vector<std::pair<Operand, int>> dynamic_addresses_;  // filled once the size of the static part is known
  std::unordered_map<std::string_view, Variable> placed_;   // the module's shared variables, as this kernel places them
  std::string_view branch_;
  Instruction current_;
  std::vector<Instruction> after_;
};

}  // namespace switchyard::simgpu
