// A kernel's declarations, the place of each operand, and the row or decoder of each instruction.
#include "tests/simgpu/decode.h"

#include <xmmintrin.h>

#include <algorithm>
#include <cstdlib>

namespace switchyard::simgpu {
namespace {

using Kind = Type::Kind;

template <class D, class S>
constexpr Handler cast = apply<decltype([](S v) { return static_cast<D>(v); }), D, S>;
template <class T>
constexpr Handler saturate = apply<decltype([](T v) { return v > 0 ? (v < 1 ? v : T{1}) : T{0}; }), T, T>;  // NaN: 0

uint32_t align_up(uint32_t value, uint32_t unit) { return (value + unit - 1) / unit * unit; }
uint32_t register_size(int bits) { return bits == 1 ? 4 : bits <= 32 ? 128 : 256; }

// Runs the ordinary loop under another rounding mode, or with denormals flushed.
void under_csr(Warp& w, const Instruction& i, uint32_t active) {
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before | i.csr);
  i.inner(w, i, active);
  _mm_setcsr(before);
}

}  // namespace

const Table& Table::get() {
  static const Table table = [] {
    Table t;
    for (auto add : {add_arithmetic, add_moves_and_comparisons, add_memory, add_atomics, add_warp}) add(t);
    return t;
  }();
  return table;
}

// ---- one instruction

void KernelReader::decode_row() {
  struct Meaning {
    uint32_t modifier, csr;
    const char* key = "";  // of cvt to a whole number: its rows serve all modes
  };
  static const std::map<std::string_view, Meaning> modes = {
      {"rn", {kNearest, 0}},   {"rz", {kRounding, 0x6000}}, {"rm", {kRounding, 0x2000}}, {"rp", {kRounding, 0x4000}},
      {"rni", {0, 0, ".ri"}},  {"rzi", {0, 0x6000, ".ri"}}, {"rmi", {0, 0x2000, ".ri"}}, {"rpi", {0, 0x4000, ".ri"}},
      {"ftz", {kFtz, 0x8040}}, {"sat", {kSat, 0}},          {"approx", {kApprox, 0}},    {"full", {kApprox, 0}}};
  std::string key(words[0]);
  uint32_t modifiers = 0;
  for (std::string_view word : std::vector(words.begin() + 1, words.end())) {
    const auto mode = modes.find(word);
    if (mode == modes.end()) {
      key.append(".").append(word);
      continue;
    }
    key += mode->second.key;
    modifiers |= mode->second.modifier;
    out.csr |= mode->second.csr;
  }
  const auto found = Table::get().rows.find(key);
  require(found != Table::get().rows.end());
  const Row& row = found->second;
  if (modifiers & ~row.modifiers) refuse("a modifier that is not known here");
  require(arguments.size() == row.sources.size() + 1);
  for (size_t k = 0; k < row.sources.size(); ++k) out.source[k] = source(k + 1, row.sources[k]);
  out.d = destination(arguments[0], row.destination);
  out.inner = row.run;
  out.run = out.csr ? under_csr : row.run;
  if ((modifiers & kSat) && row.destination.kind == Kind::f)  // a conversion to an integer saturates anyway
    after(row.destination.bits == 64 ? saturate<double> : saturate<float>, out.d, out.d);
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
  if (const auto r = find_register(text)) {
    if ((r->bits == 1) != (t.bits == 1) || (t.bits == 64 && r->bits < 64))
      refuse(fmt::format("register {} is too narrow", text));
    if (r->bits < 64 || t.bits == 64) return r->place;
    const Operand part = allocate(32);
    before(cast<uint32_t, uint64_t>, part, r->place);
    return part;
  }
  const Variable* v = find_variable(text);
  if (!v) refuse(fmt::format("unknown operand {}", text));
  if (v->kind != Variable::Kind::dynamic_shared) return constant(v->offset, t.bits);
  function_->uses_dynamic_shared = true;
  function_->constants.push_back({allocate(t.bits), t.bits, 0, true});
  return function_->constants.back().place;
}

Operand KernelReader::destination(std::string_view text, Type t) {
  if (text == "_") return {};
  const auto r = find_register(text);
  if (!r || (r->bits == 1) != (t.bits == 1) || (t.bits == 64 && r->bits < 64))
    refuse(fmt::format("no such destination {}", text));
  if (r->bits < 64 || t.bits == 64) return r->place;
  const Operand part = allocate(32);
  after(t.kind == Kind::s ? cast<int64_t, int32_t> : cast<uint64_t, uint32_t>, r->place, part);
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
      r && r->bits == 32 ? allocate(64) : source(text, kAddress);  // addresses are 64 bits wide in the engine
  if (r && r->bits == 32) before(cast<uint64_t, uint32_t>, out.source[0], r->place);
}

void KernelReader::list(std::string_view text, Type t, bool is_destination, size_t at) {
  for (std::string_view element : elements(text)) {
    if (at >= out.list.size()) refuse("too many elements");
    out.list[at++] = is_destination ? destination(element, t) : source(element, t);
  }
  out.count = static_cast<uint8_t>(at);
}

Space KernelReader::space() const {
  auto is = [this](const std::string& name) { return has(name) || has(name + "::cta") || has(name + "::entry"); };
  if (is("global")) return Space::global;
  return is("shared") ? Space::shared : is("local") ? Space::local : is("param") ? Space::parameter : Space::generic;
}

MemoryOrder KernelReader::order() const {
  if (has("acquire") || has("release") || has("acq_rel")) return MemoryOrder::synchronizes;
  return has("volatile") || has("relaxed") ? MemoryOrder::strong : MemoryOrder::weak;
}

void KernelReader::before(Handler run, Operand d, Operand a) {
  after(run, d, a);
  function_->code.push_back(after_.back());
  after_.pop_back();
}

void KernelReader::after(Handler run, Operand d, Operand a) {
  Instruction& i = after_.emplace_back(location_);
  i.run = run;
  i.d = d;
  i.source[0] = a;
}

// ---- the kernel around it

KernelReader::KernelReader(const Module& module, const std::string& name, std::string readable_name,
                           std::string_view body, uint32_t line)
    : module_(module), reader_{body, line} {
  function_->module = &module;
  function_->name = name;
  function_->readable_name = std::move(readable_name);
}

std::unique_ptr<Function> KernelReader::read(std::string_view head) {
  read_head(head);
  hidden_.emplace_back();
  while (!hidden_.empty()) read_statement(reader_.next());
  for (const auto& [at, label] : branches_) {
    const auto found = labels_.find(label);
    if (found == labels_.end()) refuse(fmt::format("no label {}", label));
    function_->code[at].target = static_cast<int32_t>(found->second);
  }
  function_->code.emplace_back().flow = Flow::exit;
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
  if (!is_new) return place->second;
  if (bits == 1) value = value ? ~uint64_t{0} : 0;
  if (bits == 8 || bits == 16) value &= (1u << bits) - 1;
  place->second = allocate(bits);
  function_->constants.push_back({place->second, bits, value});
  return place->second;
}

std::optional<KernelReader::Register> KernelReader::find_register(std::string_view name) {
  if (auto r = registers_.find(name); r != registers_.end()) return r->second;
  static const std::map<std::string_view, SpecialRegister::Kind> special = {{"%tid", SpecialRegister::tid},
                                                                            {"%ntid", SpecialRegister::ntid},
                                                                            {"%ctaid", SpecialRegister::ctaid},
                                                                            {"%nctaid", SpecialRegister::nctaid}};
  const auto found = special.find(name.substr(0, name.find('.')));
  if (found == special.end() || name.size() != found->first.size() + 2) return std::nullopt;
  const Register r{allocate(32), 32};
  function_->specials.push_back({found->second, static_cast<uint8_t>(name.back() - 'x'), r.place});
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

void KernelReader::read_head(std::string_view head) {  // name(parameters) .maxntid x, y, z
  const size_t open = head.find('('), close = std::min(head.rfind(')'), head.size());
  if (open != std::string_view::npos) {
    for (std::string_view text : split(head.substr(open + 1, close - open - 1), ',')) {
      const Declaration d = read_declaration(text);
      Variable& v = variables_[std::string(d.name)] = {Variable::Kind::parameter, 0, d.bytes, d.align};
      place(v, function_->parameter_bytes);
      function_->parameters.push_back(v);
    }
  }
  const size_t at = head.find(".maxntid");
  if (at == std::string_view::npos) return;
  const std::string_view limits = head.substr(at + 8);
  uint64_t threads = 1;
  for (std::string_view n : split(limits.substr(0, limits.find_first_of(".\n")), ',')) threads *= number(n);
  function_->max_threads = static_cast<uint32_t>(std::min<uint64_t>(threads, 1024));
}

void KernelReader::read_statement(const Statement& s) {
  statement_ = s.text;
  if (s.end == '\0') refuse("a body without an end");
  if (s.end == '\n') return read_location(s.text);
  if (s.end == '{') return hidden_.emplace_back(), void();
  if (s.end == '}') return leave_scope();
  if (s.end == ':') return labels_[s.text] = static_cast<uint32_t>(function_->code.size()), void();
  if (s.text.empty() || s.text.starts_with(".pragma")) return;
  if (s.text.starts_with(".reg")) return read_registers();
  const bool is_local = s.text.starts_with(".local");
  if (!is_local && !s.text.starts_with(".shared")) return read_instruction(s.line);
  const Declaration d = read_declaration(s.text);
  Variable& v = variables_[std::string(d.name)] = {is_local ? Variable::Kind::local : Variable::Kind::shared, 0,
                                                   d.bytes, d.align};
  place(v, is_local ? function_->local_bytes : function_->shared_bytes);
}

void KernelReader::leave_scope() {
  for (auto at = hidden_.back().rbegin(); at != hidden_.back().rend(); ++at) registers_[at->first] = at->second;
  hidden_.pop_back();
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

void KernelReader::read_instruction(uint32_t line) {
  location_.ptx_line = line;
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
  words = split(rest.substr(0, space), '.');
  arguments = split(trim(rest.substr(space)), ',');
  types.clear();
  for (std::string_view word : words) {
    Type t;
    if (read_type(word, t)) types.push_back(t);
  }
  const auto& decoders = Table::get().decoders;
  if (const auto decoder = decoders.find(words[0]); decoder != decoders.end())
    decoder->second(*this);
  else
    decode_row();
  if (!branch_.empty()) branches_.emplace_back(function_->code.size(), std::exchange(branch_, {}));
  function_->code.push_back(out);
  function_->code.insert(function_->code.end(), after_.begin(), after_.end());
  after_.clear();
}
}  // namespace switchyard::simgpu
