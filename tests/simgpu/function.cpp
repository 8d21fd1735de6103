// A kernel's declarations and the place of each of its operands.
#include "tests/simgpu/function.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>

namespace switchyard::simgpu {
namespace {

uint32_t align_up(uint32_t value, uint32_t unit) { return (value + unit - 1) / unit * unit; }

constexpr std::string_view kSpecials[] = {
    "tid.x",          "tid.y",       "tid.z",       "ntid.x",      "ntid.y",      "ntid.z",      "ctaid.x",
    "ctaid.y",        "ctaid.z",     "nctaid.x",    "nctaid.y",    "nctaid.z",    "laneid",      "warpid",
    "nwarpid",        "lanemask_eq", "lanemask_lt", "lanemask_le", "lanemask_gt", "lanemask_ge", "dynamic_smem_size",
    "total_smem_size"};

}  // namespace

std::unique_ptr<Function> read_function(const Module& module, const std::string& name, std::string_view text,
                                        uint32_t line) {
  return FunctionReader(module, name, text, line).read();
}

FunctionReader::FunctionReader(const Module& module, const std::string& name, std::string_view text, uint32_t line)
    : module_(module), reader_{text, line} {
  function_->module = &module;
  function_->name = name;
  function_->readable_name = readable(name);
}

std::unique_ptr<Function> FunctionReader::read() {
  read_head();
  read_body();
  for (const auto& [at, label] : branches_) {
    const auto found = labels_.find(label);
    if (found == labels_.end()) refuse(fmt::format("no label {}", label));
    function_->code[at].target = static_cast<int32_t>(found->second);
  }
  Instruction end;
  end.flow = Flow::exit;
  function_->code.push_back(end);
  finish_constants();
  return std::move(function_);
}

void FunctionReader::refuse(const std::string& why) const {
  std::string text(statement_);
  std::replace(text.begin(), text.end(), '\n', ' ');
  throw Fault(cudaErrorInvalidPtx,
              fmt::format("simgpu: {}: '{}' at PTX line {} of {}", why, text, reader_.line, function_->readable_name));
}

Operand FunctionReader::allocate(int bits, int count) {
  uint32_t& used = function_->register_bytes;
  if (bits > 1) used = align_up(used, 64);
  const Operand o{static_cast<int32_t>(used)};
  used += register_size(bits) * static_cast<uint32_t>(count);
  return o;
}

Operand FunctionReader::constant(uint64_t value, int bits) {
  auto [place, is_new] = constants_.try_emplace({value, bits}, Operand{});
  if (is_new) place->second = new_constant(value, bits);
  return place->second;
}

// Constants are addressed from their end, so that their places are below zero, and kept back to front until all are
// known.
Operand FunctionReader::new_constant(uint64_t value, int bits) {
  std::vector<uint8_t>& c = function_->constants;
  c.resize(align_up(static_cast<uint32_t>(c.size()), 64));
  std::vector<uint8_t> bytes(register_size(bits));
  if (bits == 1) value = value ? ~uint64_t{0} : 0;
  if (bits == 8 || bits == 16) value &= (1u << bits) - 1;
  const size_t slot = bits == 64 ? 8 : 4;
  for (size_t at = 0; at < bytes.size(); at += slot) std::memcpy(bytes.data() + at, &value, slot);
  c.insert(c.end(), bytes.rbegin(), bytes.rend());
  return {-static_cast<int32_t>(c.size())};
}

void FunctionReader::finish_constants() {
  std::vector<uint8_t>& c = function_->constants;
  std::reverse(c.begin(), c.end());
  const uint64_t begin = function_->dynamic_shared_begin();
  for (const auto& [place, bits] : dynamic_addresses_) {
    for (int l = 0; l < 32; ++l)
      std::memcpy(&c[c.size() + static_cast<size_t>(place.at + l * bits / 8)], &begin, static_cast<size_t>(bits / 8));
  }
}

std::optional<FunctionReader::Register> FunctionReader::find_register(std::string_view name) {
  size_t digits = name.size();
  while (digits > 0 && std::isdigit(static_cast<unsigned char>(name[digits - 1]))) --digits;
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    if (auto r = scope->registers.find(name); r != scope->registers.end()) return r->second;
    const auto range = scope->ranges.find(name.substr(0, digits));
    if (range == scope->ranges.end() || digits == name.size()) continue;
    const auto& [first, bits, count] = range->second;
    const int k = static_cast<int>(number(name.substr(digits)));
    if (k < count) return Register{{first.at + k * static_cast<int32_t>(register_size(bits))}, bits};
  }
  if (!name.starts_with('%') ||
      std::find(std::begin(kSpecials), std::end(kSpecials), name.substr(1)) == std::end(kSpecials))
    return std::nullopt;
  const Register r{allocate(32), 32};
  function_->specials.emplace_back(name.substr(1), r.place);
  return scopes_[0].registers[name] = r;
}

const Variable* FunctionReader::find_variable(std::string_view name) {
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    if (auto v = scope->variables.find(name); v != scope->variables.end()) return &v->second;
  }
  if (auto v = placed_.find(name); v != placed_.end()) return &v->second;
  const auto v = module_.variables().find(name);
  if (v == module_.variables().end()) return nullptr;
  Variable& mine = placed_[name] = v->second;
  if (mine.kind == Variable::Kind::shared) place_shared(mine);
  return &mine;
}

Operand FunctionReader::variable_address(const Variable& v, int bits) {
  if (v.kind != Variable::Kind::dynamic_shared) return constant(v.offset, bits);
  function_->uses_dynamic_shared = true;
  return dynamic_addresses_.emplace_back(new_constant(0, bits), bits).first;
}

void FunctionReader::place_shared(Variable& v) {
  v.offset = align_up(function_->shared_bytes, v.align);
  function_->shared_bytes = static_cast<uint32_t>(v.offset) + v.bytes;
}

void FunctionReader::before(Handler run, Operand d, Operand a) {
  Instruction& i = function_->code.emplace_back(current_);
  i.run = run;
  i.d = d;
  i.source[0] = a;
}

void FunctionReader::after(Handler run, Operand d, Operand a) {
  before(run, d, a);
  after_.push_back(function_->code.back());
  function_->code.pop_back();
}

void FunctionReader::read_head() {
  Function& f = *function_;
  if (!reader_.at_end() && reader_.peek() == '(') {
    ++reader_.at;
    for (std::string_view text : split(reader_.up_to(')'), ',')) {
      const Declaration d = read_declaration(text);
      const Variable v{Variable::Kind::parameter, align_up(f.parameter_bytes, d.align), d.bytes(), d.align};
      f.parameter_bytes = static_cast<uint32_t>(v.offset) + v.bytes;
      f.parameters.push_back(v);
      scopes_[0].variables[d.name] = v;
    }
  }
  const std::string_view limits = reader_.up_to('{');
  const size_t at = limits.find(".maxntid");
  if (at == std::string_view::npos) return;
  const std::string_view rest = limits.substr(at + 8);
  uint64_t threads = 1;
  for (std::string_view n : split(rest.substr(0, rest.find_first_of(".\n")), ',')) threads *= number(n);
  f.max_threads = static_cast<uint32_t>(std::min<uint64_t>(threads, 1024));
}

void FunctionReader::read_body() {
  do {
    if (reader_.at_end()) refuse("a body without an end");
    if (reader_.peek() == '{') {
      ++reader_.at;
      scopes_.emplace_back();
    } else if (reader_.peek() == '}') {
      ++reader_.at;
      scopes_.pop_back();
    } else if (reader_.peek() == ';') {
      ++reader_.at;
    } else if (reader_.starts_with_word(".loc")) {
      read_location(reader_.rest_of_line());
    } else {
      statement_ = reader_.statement();
      if (statement_.ends_with(':')) {
        labels_[statement_.substr(0, statement_.size() - 1)] = static_cast<uint32_t>(function_->code.size());
      } else if (statement_.starts_with(".reg")) {
        read_registers();
      } else if (statement_.starts_with(".shared") || statement_.starts_with(".local")) {
        read_variable();
      } else if (!statement_.starts_with(".pragma")) {
        read_instruction();
      }
    }
  } while (scopes_.size() > 1);
}

void FunctionReader::read_location(
    std::string_view text) {  // .loc file line column[, function_name x[+n], inlined_at file line column]
  auto read = [](const char* at, uint32_t& file, uint32_t& line) {
    char* end = nullptr;
    file = static_cast<uint32_t>(std::strtoul(at, &end, 10));
    line = static_cast<uint32_t>(std::strtoul(end, nullptr, 10));
  };
  read(text.data() + 4, current_.file, current_.line);
  current_.from_line = 0;
  if (const size_t at = text.find("inlined_at"); at != std::string_view::npos)
    read(text.data() + at + 10, current_.from_file, current_.from_line);
}

void FunctionReader::read_registers() {  // .reg .b32 %r<5>, %q
  const std::string_view rest = trim(statement_.substr(4));
  const size_t space = rest.find_first_of(" \t");
  Type type;
  if (!rest.starts_with('.') || !read_type(rest.substr(1, space - 1), type) || type.bits > 64)
    refuse("unknown registers");
  for (std::string_view name : split(rest.substr(space), ',')) {
    const size_t angle = name.find('<');
    const int count = angle == std::string_view::npos ? 1 : static_cast<int>(number(name.substr(angle + 1)));
    if (angle == std::string_view::npos)
      scopes_.back().registers[name] = {allocate(type.bits), type.bits};
    else
      scopes_.back().ranges[name.substr(0, angle)] = {allocate(type.bits, count), type.bits, count};
  }
}

void FunctionReader::read_variable() {
  const Declaration d = read_declaration(statement_);
  Variable v{Variable::Kind::shared, 0, d.bytes(), d.align};
  if (d.space == "shared") {
    place_shared(v);
  } else {
    v.kind = Variable::Kind::local;
    v.offset = align_up(function_->local_bytes, d.align);
    function_->local_bytes = static_cast<uint32_t>(v.offset) + v.bytes;
  }
  scopes_.back().variables[d.name] = v;
}

void FunctionReader::read_instruction() {
  const Instruction place = current_;
  current_ = Instruction{};
  current_.file = place.file, current_.line = place.line;
  current_.from_file = place.from_file, current_.from_line = place.from_line;
  current_.ptx_line = reader_.line;
  current_.text = statement_;
  std::string_view rest = statement_;
  if (rest.starts_with('@')) {
    const size_t space = rest.find_first_of(" \t\n");
    current_.negated = rest[1] == '!';
    const auto found = find_register(rest.substr(1 + current_.negated, space - 1 - current_.negated));
    if (!found || found->bits != 1) refuse("no such predicate");
    current_.predicate = found->place.at;
    rest = trim(rest.substr(space));
  }
  Instruction out = current_;
  decode(*this, out, rest);
  if (!branch_.empty()) branches_.emplace_back(function_->code.size(), std::exchange(branch_, {}));
  function_->code.push_back(out);
  function_->code.insert(function_->code.end(), after_.begin(), after_.end());
  after_.clear();
}

}  // namespace switchyard::simgpu
