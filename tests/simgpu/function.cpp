// A kernel's declarations and the place of each of its operands.
#include "tests/simgpu/function.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <cstring>

namespace switchyard::simgpu {
namespace {

uint32_t align_up(uint32_t value, uint32_t unit) { return (value + unit - 1) / unit * unit; }

bool is_special(std::string_view name) {
  static const std::vector<std::string_view> known = {
      "tid.x",          "tid.y",       "tid.z",       "ntid.x",      "ntid.y",      "ntid.z",      "ctaid.x",
      "ctaid.y",        "ctaid.z",     "nctaid.x",    "nctaid.y",    "nctaid.z",    "laneid",      "warpid",
      "nwarpid",        "lanemask_eq", "lanemask_lt", "lanemask_le", "lanemask_gt", "lanemask_ge", "dynamic_smem_size",
      "total_smem_size"};
  return std::find(known.begin(), known.end(), name) != known.end();
}

}  // namespace

std::unique_ptr<Function> read_function(const Module& module, const std::string& name, std::string_view text,
                                        uint32_t line) {
  return FunctionReader(module, name, text, line).read();
}

FunctionReader::FunctionReader(const Module& module, const std::string& name, std::string_view text, uint32_t line)
    : module_(module), function_(std::make_unique<Function>()), reader_(text, line) {
  function_->module = &module;
  function_->name = name;
  function_->readable_name = readable(name);
}

std::unique_ptr<Function> FunctionReader::read() {
  read_parameters();
  read_limits();
  read_body();
  for (const auto& [at, label] : branches_) {
    const auto found = labels_.find(label);
    if (found == labels_.end()) refuse("no such label", label);
    function_->code[at].target = static_cast<int32_t>(found->second);
  }
  Instruction end;
  end.flow = Flow::exit;
  end.text = "end";
  function_->code.push_back(end);
  // Constants are addressed from their end, so that their places are below zero and known before all are.
  std::vector<uint8_t>& c = function_->constants;
  std::reverse(c.begin(), c.end());
  for (const auto& [place, bits] : dynamic_addresses_) {
    const uint64_t value = function_->dynamic_shared_begin();
    for (int l = 0; l < 32; ++l)
      std::memcpy(c.data() + c.size() + place.at + l * bits / 8, &value, static_cast<size_t>(bits / 8));
  }
  return std::move(function_);
}

void FunctionReader::refuse(const std::string& why, std::string_view statement) const {
  std::string text(statement);
  std::replace(text.begin(), text.end(), '\n', ' ');
  throw Fault(cudaErrorInvalidPtx, "simgpu: " + why + ": '" + text + "' at PTX line " +
                                       std::to_string(reader_.line_number()) + " of " + function_->readable_name);
}

Operand FunctionReader::allocate(int bits, int count) {
  Function& f = *function_;
  if (bits > 1) f.register_bytes = align_up(f.register_bytes, 64);
  const Operand o{static_cast<int32_t>(f.register_bytes)};
  f.register_bytes += register_size(bits) * static_cast<uint32_t>(count);
  return o;
}

Operand FunctionReader::constant(uint64_t value, int bits) {
  auto [place, is_new] = constants_.try_emplace({value, bits}, Operand{});
  if (is_new) place->second = new_constant(value, bits);
  return place->second;
}

Operand FunctionReader::new_constant(uint64_t value, int bits) {
  std::vector<uint8_t>& c = function_->constants;
  c.resize(align_up(static_cast<uint32_t>(c.size()), 64));
  std::vector<uint8_t> bytes(register_size(bits));
  if (bits == 1) value = value ? ~uint64_t{0} : 0;
  if (bits == 8) value &= 0xff;
  if (bits == 16) value &= 0xffff;
  const size_t slot = bits == 64 ? 8 : 4;
  for (size_t at = 0; at < bytes.size(); at += slot) std::memcpy(bytes.data() + at, &value, slot);
  c.insert(c.end(), bytes.rbegin(), bytes.rend());
  return Operand{-static_cast<int32_t>(c.size())};
}

std::optional<FunctionReader::Register> FunctionReader::find_register(std::string_view name) {
  size_t digits = name.size();
  while (digits > 0 && std::isdigit(static_cast<unsigned char>(name[digits - 1]))) --digits;
  for (size_t s = scopes_.size(); s-- > 0;) {
    const Scope& scope = scopes_[s];
    if (auto r = scope.registers.find(name); r != scope.registers.end()) return r->second;
    const auto range = scope.ranges.find(name.substr(0, digits));
    if (range == scope.ranges.end() || digits == name.size()) continue;
    const int k = std::atoi(std::string(name.substr(digits)).c_str());
    if (k < range->second.count) {
      const int bits = range->second.bits;
      return Register{{range->second.first.at + k * static_cast<int32_t>(register_size(bits))}, bits};
    }
  }
  if (name.starts_with('%') && is_special(name.substr(1))) {
    const Register r{allocate(32), 32};
    function_->specials.push_back({std::string(name.substr(1)), r.place});
    return scopes_[0].registers[name] = r;
  }
  return std::nullopt;
}

const Variable* FunctionReader::find_variable(std::string_view name) {
  for (size_t s = scopes_.size(); s-- > 0;) {
    if (auto v = scopes_[s].variables.find(name); v != scopes_[s].variables.end()) return &v->second;
  }
  if (auto v = placed_.find(name); v != placed_.end()) return &v->second;
  const auto v = module_.variables().find(std::string(name));
  if (v == module_.variables().end()) return nullptr;
  Variable& mine = placed_[name] = v->second;
  if (mine.kind == Variable::Kind::shared) place_shared(mine);
  return &mine;
}

Operand FunctionReader::variable_address(const Variable& v, int bits) {
  if (v.kind != Variable::Kind::dynamic_shared) return constant(v.offset, bits);
  function_->uses_dynamic_shared = true;
  const Operand place = new_constant(0, bits);
  dynamic_addresses_.push_back({place, bits});
  return place;
}

void FunctionReader::place_shared(Variable& v) {
  v.offset = align_up(function_->shared_bytes, v.align);
  function_->shared_bytes = static_cast<uint32_t>(v.offset) + v.bytes;
}

void FunctionReader::before(Handler run, Operand d, Operand a) {
  Instruction i = current_;
  i.run = run;
  i.d = d;
  i.source[0] = a;
  push(i);
}

void FunctionReader::after(Handler run, Operand d, Operand a) {
  Instruction i = current_;
  i.run = run;
  i.d = d;
  i.source[0] = a;
  after_.push_back(i);
}

void FunctionReader::read_parameters() {
  if (reader_.at_end() || reader_.peek() != '(') return;
  reader_.skip(1);
  Function& f = *function_;
  for (std::string_view text : split(reader_.up_to(')'), ',')) {
    const Declaration d = read_declaration(text);
    Variable v{Variable::Kind::parameter, align_up(f.parameter_bytes, d.align), static_cast<uint32_t>(d.bytes()),
               d.align};
    f.parameter_bytes = static_cast<uint32_t>(v.offset) + v.bytes;
    f.parameters.push_back(v);
    scopes_[0].variables[d.name] = v;
  }
  reader_.skip(1);
}

void FunctionReader::read_limits() {
  const std::string_view limits = reader_.up_to('{');
  const size_t at = limits.find(".maxntid");
  if (at == std::string_view::npos) return;
  const std::string_view rest = limits.substr(at + 8);
  uint64_t threads = 1;
  for (std::string_view n : split(rest.substr(0, rest.find_first_of(".\n")), ',')) threads *= number(n, {});
  function_->max_threads = static_cast<uint32_t>(std::min<uint64_t>(threads, 1024));
}

void FunctionReader::read_body() {
  do {
    if (reader_.at_end()) refuse("a body without an end", "");
    if (reader_.peek() == '{') {
      reader_.skip(1);
      scopes_.emplace_back();
    } else if (reader_.peek() == '}') {
      reader_.skip(1);
      scopes_.pop_back();
    } else if (reader_.peek() == ';') {
      reader_.skip(1);
    } else if (reader_.starts_with_word(".loc")) {
      read_location(reader_.line());
    } else {
      const std::string_view statement = reader_.statement();
      if (statement.ends_with(':')) {
        labels_[statement.substr(0, statement.size() - 1)] = static_cast<uint32_t>(function_->code.size());
      } else if (statement.starts_with(".reg")) {
        read_registers(statement);
      } else if (statement.starts_with(".shared") || statement.starts_with(".local")) {
        read_variable(statement);
      } else if (!statement.starts_with(".pragma")) {
        read_instruction(statement);
      }
    }
  } while (scopes_.size() > 1);
}

void FunctionReader::read_registers(std::string_view statement) {  // .reg .b32 %r<5>, %q
  const std::string_view rest = trim(statement.substr(4));
  const size_t space = rest.find_first_of(" \t");
  Type type;
  if (!rest.starts_with('.') || !read_type(rest.substr(1, space - 1), type) || type.bits > 64)
    refuse("unknown registers", statement);
  for (std::string_view name : split(rest.substr(space), ',')) {
    if (const size_t angle = name.find('<'); angle != std::string_view::npos) {
      const int count = static_cast<int>(number(name.substr(angle + 1), {}));
      scopes_.back().ranges[name.substr(0, angle)] = {allocate(type.bits, count), type.bits, count};
    } else {
      scopes_.back().registers[name] = {allocate(type.bits), type.bits};
    }
  }
}

void FunctionReader::read_variable(std::string_view statement) {
  const Declaration d = read_declaration(statement);
  Variable v;
  v.bytes = static_cast<uint32_t>(d.bytes());
  v.align = d.align;
  if (d.space == "shared") {
    v.kind = Variable::Kind::shared;
    place_shared(v);
  } else {
    v.kind = Variable::Kind::local;
    v.offset = align_up(function_->local_bytes, d.align);
    function_->local_bytes = static_cast<uint32_t>(v.offset) + v.bytes;
  }
  scopes_.back().variables[d.name] = v;
}

void FunctionReader::read_location(std::string_view line) {  // .loc file line column
  char* end = nullptr;
  const std::string text(line.substr(4));
  file_ = static_cast<uint32_t>(std::strtoul(text.c_str(), &end, 10));
  line_ = static_cast<uint32_t>(std::strtoul(end, nullptr, 10));
}

void FunctionReader::read_instruction(std::string_view statement) {
  current_ = Instruction{};
  current_.line = line_;
  current_.file = file_;
  current_.ptx_line = reader_.line_number();
  current_.text = statement;
  std::string_view rest = statement;
  if (rest.starts_with('@')) {
    const size_t space = rest.find_first_of(" \t\n");
    std::string_view guard = rest.substr(1, space - 1);
    if (guard.starts_with('!')) {
      current_.negated = true;
      guard.remove_prefix(1);
    }
    const auto found = find_register(guard);
    if (!found || found->bits != 1) refuse("no such predicate", statement);
    current_.predicate = found->place.at;
    rest = trim(rest.substr(space));
  }
  Instruction out = current_;
  decode(*this, out, rest);
  push(out);
  for (const Instruction& i : after_) push(i);
  after_.clear();
}

}  // namespace switchyard::simgpu
