// A kernel's declarations, the place of each operand, and the row or decoder of each instruction.
#include "tests/simgpu/decode.h"

#include <xmmintrin.h>

#include <algorithm>
#include <cstdlib>

namespace switchyard::simgpu {
namespace {

using Kind = Type::Kind;

template <class D, class S>
using Cast = decltype([](S v) { return static_cast<D>(v); });
template <class T>
using Saturate = decltype([](T v) { return v > 0 ? (v < 1 ? v : T{1}) : T{0}; });  // NaN becomes 0
using Flush = decltype([](float v) { return std::fabs(v) < 0x1p-126f ? std::copysign(0.0f, v) : v; });
using Negate = decltype([](bool v) { return !v; });

uint32_t align_up(uint32_t value, uint32_t unit) { return (value + unit - 1) / unit * unit; }
uint32_t register_size(int bits) { return bits == 1 ? 4 : bits <= 32 ? 128 : 256; }

// Runs the ordinary loop under another rounding mode, or with denormals flushed.
void under_csr(Warp& w, const Instruction& i, uint32_t active) {
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before | i.csr);
  i.inner(w, i, active);
  _mm_setcsr(before);
}

uint32_t modifier_of(std::string_view word, bool is_float) {
  if (word == "sat") return is_float ? uint32_t{kSat} : 0;
  static const std::map<std::string_view, uint32_t> all = {{"rn", kNearest},  {"rz", kRounding}, {"rm", kRounding},
                                                           {"rp", kRounding}, {"ftz", kFtz},     {"approx", kApprox},
                                                           {"full", kApprox}};
  return all.count(word) ? all.at(word) : 0;
}

const Decoders& special_decoders() {
  static const Decoders all = [] {
    Decoders map;
    for (auto add :
         {add_memory_decoders, add_atomic_decoders, add_warp_decoders, add_matrix_decoders, add_select_decoders})
      add(map);
    return map;
  }();
  return all;
}

}  // namespace

const Table& Table::get() {
  static const Table table = [] {
    Table t;
    for (auto add : {add_integer_rows, add_real_rows, add_conversion_rows, add_select_rows}) add(t);
    return t;
  }();
  return table;
}

// ---- one instruction

void KernelReader::decode_row() {
  const bool is_float = std::any_of(types.begin(), types.end(), [](Type t) { return t.is_float(); });
  std::string key(words[0]);
  uint32_t modifiers = 0;
  for (size_t k = 1; k < words.size(); ++k) {
    const uint32_t m = modifier_of(words[k], is_float);
    const bool to_whole = words[0] == "cvt" && words[k].size() == 3 && words[k][0] == 'r' && words[k][2] == 'i';
    modifiers |= m;
    if (!m) key.append(".").append(to_whole ? "ri" : words[k]);
  }
  const auto& rows = Table::get().rows();
  auto found =
      modifiers & kRounding ? rows.find(key + "/r") : rows.end();  // a row for other roundings than the nearest
  if (found == rows.end()) found = rows.find(key);
  require(found != rows.end());
  const Row& row = found->second;
  if (modifiers & ~row.modifiers) refuse("a modifier that is not known here");
  require(arguments.size() == row.sources.size() + 1);
  out.run = row.run;
  for (size_t k = 0; k < row.sources.size(); ++k) out.source[k] = source(k + 1, row.sources[k]);
  out.d = destination(arguments[0], row.destination);
  modes(modifiers);
  if (row.selects && (modifiers & kFtz)) after(apply<Flush, float, float>, out.d, out.d);
  if (!(modifiers & kSat)) return;
  if (row.destination.kind == Kind::half) refuse(".sat to a half type");
  if (row.destination.kind != Kind::f) return;  // a conversion to an integer saturates anyway
  after(row.destination.bits == 64 ? apply<Saturate<double>, double, double> : apply<Saturate<float>, float, float>,
        out.d, out.d);
}

void KernelReader::modes(uint32_t modifiers) {
  for (const auto& [word, rounding] : {std::pair{"m", 0x2000u}, {"p", 0x4000u}, {"z", 0x6000u}}) {
    if (has(std::string("r") + word) || has(std::string("r") + word + 'i')) out.csr |= rounding;
  }
  if (modifiers & kFtz) out.csr |= 0x8040;
  if (!out.csr) return;
  out.inner = out.run;
  out.run = under_csr;
}

bool KernelReader::has(std::string_view w) const { return std::find(words.begin() + 1, words.end(), w) != words.end(); }

bool KernelReader::only(std::string_view allowed) const {
  const auto known = split(allowed, ' ');
  return std::all_of(words.begin() + 1, words.end(), [&](std::string_view word) {
    Type t;
    return read_type(word, t) || std::find(known.begin(), known.end(), word) != known.end();
  });
}

void KernelReader::refuse(const std::string& why) const {
  std::string text(statement_);
  std::replace(text.begin(), text.end(), '\n', ' ');
  throw Fault(cudaErrorInvalidPtx,
              fmt::format("simgpu: {}: '{}' at PTX line {} of {}", why, text, reader_.line, function_->readable_name));
}

uint64_t KernelReader::constant(size_t argument) const {
  if (argument >= arguments.size() || !is_number(arguments[argument])) refuse("a number is missing");
  return number(arguments[argument]);
}

Operand KernelReader::source(std::string_view text, Type t) {
  if (is_number(text)) return constant(number(text, t), t.bits);
  if (t.bits == 1 && text.starts_with('!')) {
    const Operand other = temporary(1);
    before(apply<Negate, Pred, Pred>, other, source(text.substr(1), t));
    return other;
  }
  if (const auto r = find_register(text)) {
    if ((r->bits == 1) != (t.bits == 1) || (t.bits == 64 && r->bits < 64))
      refuse(fmt::format("register {} is too narrow", text));
    if (r->bits < 64 || t.bits == 64) return r->place;
    const Operand part = temporary(32);
    before(apply<Cast<uint32_t, uint64_t>, uint32_t, uint64_t>, part, r->place);
    return part;
  }
  const Variable* v = find_variable(text);
  if (!v) refuse(fmt::format("unknown operand {}", text));
  if (v->kind != Variable::Kind::dynamic_shared) return constant(v->offset, t.bits);
  function_->uses_dynamic_shared = true;
  return dynamic_addresses_.emplace_back(new_constant(0, t.bits), t.bits).first;
}

Operand KernelReader::destination(std::string_view text, Type t) {
  if (text == "_") return {};
  const auto r = find_register(text);
  if (!r || (r->bits == 1) != (t.bits == 1) || (t.bits == 64 && r->bits < 64))
    refuse(fmt::format("no such destination {}", text));
  if (r->bits < 64 || t.bits == 64) return r->place;
  const Operand part = temporary(32);
  after(t.kind == Kind::s ? apply<Cast<int64_t, int32_t>, int64_t, int32_t>
                          : apply<Cast<uint64_t, uint32_t>, uint64_t, uint32_t>,
        r->place, part);
  return part;
}

void KernelReader::destinations(Type t) {
  const auto both = split(arguments.at(0), '|');
  out.d = destination(both[0], t);
  if (both.size() > 1) out.d2 = destination(both[1], kPredicate);
}

// [register + offset], [variable + offset], [number]
void KernelReader::address(size_t argument) {
  if (argument >= arguments.size() || !arguments[argument].starts_with('[')) refuse("an address is missing");
  std::string_view text = trim(arguments[argument].substr(1, arguments[argument].rfind(']') - 1));
  out.immediate = 0;
  if (const size_t sign = text.find_first_of("+-", 1); sign != std::string_view::npos) {
    const std::string_view offset = trim(text.substr(sign + (text[sign] == '+')));
    if (!is_number(offset)) refuse("an offset that is no number");
    out.immediate = static_cast<int64_t>(number(offset));
    text = trim(text.substr(0, sign));
  }
  const auto r = find_register(text);
  out.source[0] =
      r && r->bits == 32 ? temporary(64) : source(text, kAddress);  // addresses are 64 bits wide in the engine
  if (r && r->bits == 32) before(apply<Cast<uint64_t, uint32_t>, uint64_t, uint32_t>, out.source[0], r->place);
}

void KernelReader::list(std::string_view text, Type t, bool is_destination, size_t at) {
  for (std::string_view element : elements(text)) {
    if (at >= out.list.size()) refuse("too many elements");
    out.list[at++] = is_destination ? destination(element, t) : source(element, t);
  }
  out.count = static_cast<uint8_t>(at);
}

void KernelReader::before(Handler run, Operand d, Operand a) {
  after(run, d, a);
  function_->code.push_back(after_.back());
  after_.pop_back();
}

void KernelReader::after(Handler run, Operand d, Operand a, Operand b, Operand c) {
  Instruction& i = after_.emplace_back(location_);
  i.run = run;
  i.d = d;
  i.source = {a, b, c, {}};
}

// ---- the kernel around it

KernelReader::KernelReader(const Module& module, const std::string& name, std::string_view text, uint32_t line)
    : module_(module), reader_{text, line} {
  function_->module = &module;
  function_->name = name;
  function_->readable_name = readable(name);
}

std::unique_ptr<Function> KernelReader::read() {
  read_head();
  read_body();
  for (const auto& [at, label] : branches_) {
    const auto found = labels_.find(label);
    if (found == labels_.end()) refuse(fmt::format("no label {}", label));
    function_->code[at].target = static_cast<int32_t>(found->second);
  }
  function_->code.emplace_back().flow = Flow::exit;
  finish_constants();
  return std::move(function_);
}

Operand KernelReader::allocate(int bits) {
  uint32_t& used = function_->register_bytes;
  if (bits > 1) used = align_up(used, 64);
  used += register_size(bits);
  return {static_cast<int32_t>(used - register_size(bits))};
}

Operand KernelReader::constant(uint64_t value, int bits) {
  auto [place, is_new] = constants_.try_emplace({value, bits}, Operand{});
  if (is_new) place->second = new_constant(value, bits);
  return place->second;
}

// Constants are addressed from their end, so that their places are below zero, and kept back to front until all are
// known.
Operand KernelReader::new_constant(uint64_t value, int bits) {
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

void KernelReader::finish_constants() {
  std::vector<uint8_t>& c = function_->constants;
  std::reverse(c.begin(), c.end());
  const uint64_t begin = function_->dynamic_shared_begin();
  for (const auto& [at, bits] : dynamic_addresses_) {
    for (int l = 0; l < 32; ++l)
      std::memcpy(&c[c.size() + static_cast<size_t>(at.at + l * bits / 8)], &begin, static_cast<size_t>(bits / 8));
  }
}

std::optional<KernelReader::Register> KernelReader::find_register(std::string_view name) {
  if (auto r = registers_.find(name); r != registers_.end()) return r->second;
  const auto special = special_registers().find(name.substr(name.starts_with('%')));
  if (!name.starts_with('%') || special == special_registers().end()) return std::nullopt;
  const Register r{allocate(32), 32};
  function_->specials.emplace_back(special->second, r.place);
  return registers_[std::string(name)] = r;
}

const Variable* KernelReader::find_variable(std::string_view name) {
  if (auto v = variables_.find(name); v != variables_.end()) return &v->second;
  const auto v = module_.variables().find(name);
  if (v == module_.variables().end()) return nullptr;
  Variable& mine = variables_[std::string(name)] = v->second;
  if (mine.kind == Variable::Kind::shared) place(mine, function_->shared_bytes);
  return &mine;
}

void KernelReader::place(Variable& v, uint32_t& used) const {
  v.offset = align_up(used, v.align);
  used = static_cast<uint32_t>(v.offset) + v.bytes;
}

void KernelReader::read_head() {
  Function& f = *function_;
  if (!reader_.at_end() && reader_.peek() == '(') {
    ++reader_.at;
    for (std::string_view text : split(reader_.up_to(')'), ',')) {
      const Declaration d = read_declaration(text);
      Variable& v = variables_[std::string(d.name)] = {Variable::Kind::parameter, 0, d.bytes(), d.align};
      place(v, f.parameter_bytes);
      f.parameters.push_back(v);
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

void KernelReader::read_body() {
  int depth = 0;
  do {
    if (reader_.at_end()) refuse("a body without an end");
    const char c = reader_.peek();
    if (c == '{' || c == '}' || c == ';') {
      ++reader_.at;
      depth += c == '{' ? 1 : c == '}' ? -1 : 0;
      if (c != ';') c == '{' ? hidden_.emplace_back(), void() : leave_scope();
      continue;
    }
    if (reader_.starts_with_word(".loc")) {
      read_location(reader_.rest_of_line());
      continue;
    }
    statement_ = reader_.statement();
    if (statement_.ends_with(':')) {
      labels_[statement_.substr(0, statement_.size() - 1)] = static_cast<uint32_t>(function_->code.size());
    } else if (statement_.starts_with(".reg")) {
      read_registers();
    } else if (statement_.starts_with(".shared") || statement_.starts_with(".local")) {
      const Declaration d = read_declaration(statement_);
      const bool shared = d.space == "shared";
      Variable& v = variables_[std::string(d.name)] = {shared ? Variable::Kind::shared : Variable::Kind::local, 0,
                                                       d.bytes(), d.align};
      place(v, shared ? function_->shared_bytes : function_->local_bytes);
    } else if (!statement_.starts_with(".pragma")) {
      read_instruction();
    }
  } while (depth > 0);
}

// .loc file line column[, function_name x[+n], inlined_at file line column]
void KernelReader::read_location(std::string_view text) {
  auto read = [](const char* at, uint32_t& file, uint32_t& line) {
    char* end = nullptr;
    file = static_cast<uint32_t>(std::strtoul(at, &end, 10));
    line = static_cast<uint32_t>(std::strtoul(end, nullptr, 10));
  };
  location_ = Instruction{};
  read(text.data() + 4, location_.file, location_.line);
  if (const size_t at = text.find("inlined_at"); at != std::string_view::npos)
    read(text.data() + at + 10, location_.from_file, location_.from_line);
}
void KernelReader::read_registers() {  // .reg .b32 %r<5>, %q
  const std::string_view rest = trim(statement_.substr(4));
  const size_t space = rest.find_first_of(" \t");
  Type t;
  if (!rest.starts_with('.') || !read_type(rest.substr(1, space - 1), t) || t.bits > 64) refuse("unknown registers");
  for (std::string_view name : split(rest.substr(space), ',')) {
    const size_t angle = std::min(name.find('<'), name.size());
    const std::string base(name.substr(0, angle));
    const uint64_t count = angle < name.size() ? number(name.substr(angle + 1)) : 0;
    for (uint64_t k = 0; k < count; ++k) registers_[base + std::to_string(k)] = {allocate(t.bits), t.bits};
    if (count > 0) continue;
    if (const auto outer = registers_.find(base); outer != registers_.end()) hidden_.back().push_back(*outer);
    registers_[base] = {allocate(t.bits), t.bits};
  }
}

void KernelReader::read_instruction() {
  location_.ptx_line = reader_.line;
  location_.text = statement_;
  location_.predicate = -1;
  std::string_view rest = statement_;
  if (rest.starts_with('@')) {
    const size_t space = rest.find_first_of(" \t\n");
    location_.negated = rest[1] == '!';
    const auto found = find_register(rest.substr(1 + location_.negated, space - 1 - location_.negated));
    if (!found || found->bits != 1) refuse("no such predicate");
    location_.predicate = found->place.at;
    rest = trim(rest.substr(space));
  }
  out = location_;
  const size_t space = std::min(rest.find_first_of(" \t\n"), rest.size());
  opcode = rest.substr(0, space);
  words = split(opcode, '.');
  arguments = split(trim(rest.substr(space)), ',');
  types.clear();
  for (std::string_view word : words) {
    Type t;
    if (read_type(word, t)) types.push_back(t);
  }
  const auto special = special_decoders().find(words[0]);
  if (special == special_decoders().end())
    decode_row();
  else
    special->second(*this);
  if (!branch_.empty()) branches_.emplace_back(function_->code.size(), std::exchange(branch_, {}));
  function_->code.push_back(out);
  function_->code.insert(function_->code.end(), after_.begin(), after_.end());
  after_.clear();
}
}  // namespace switchyard::simgpu
