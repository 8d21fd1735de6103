// Decodes one instruction: its words, its row in the table, its operands.
#include "tests/simgpu/decode.h"

#include <xmmintrin.h>

#include <algorithm>

#include "tests/simgpu/function.h"

namespace switchyard::simgpu {
namespace {

struct Truncate {
  uint32_t operator()(uint64_t v) const { return static_cast<uint32_t>(v); }
};
struct SignExtend {
  int64_t operator()(int32_t v) const { return v; }
};
struct ZeroExtend {
  uint64_t operator()(uint32_t v) const { return v; }
};

// Runs the ordinary loop under another rounding mode, or with denormals flushed.
void under_csr(Warp& w, const Instruction& i, uint32_t active) {
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before | i.csr);
  i.inner(w, i, active);
  _mm_setcsr(before);
}

template <class T>
struct Saturate {  // NaN becomes 0
  T operator()(T v) const { return v > 0 ? (v < 1 ? v : T{1}) : T{0}; }
};

struct Flush {
  float operator()(float v) const { return std::fabs(v) < 0x1p-126f ? std::copysign(0.0f, v) : v; }
};

uint32_t modifier_of(std::string_view word, bool is_float) {
  if (word == "rn") return kNearest;
  if (word == "rz" || word == "rm" || word == "rp") return kRounding;
  if (word == "ftz") return kFtz;
  if (word == "approx" || word == "full") return kApprox;
  if (word == "noftz") return kNoFtz;
  return word == "sat" && is_float ? uint32_t{kSat} : 0;
}

uint8_t rounding_of(const Decoding& d) {
  return d.has("rz") || d.has("rzi") ? 1 : d.has("rm") || d.has("rmi") ? 2 : d.has("rp") || d.has("rpi") ? 3 : 0;
}

void decode_row(Decoding& d) {
  const bool is_float = std::any_of(d.types.begin(), d.types.end(), [](Type t) { return t.is_float(); });
  std::string key(d.opcode());
  uint32_t modifiers = 0;
  for (size_t k = 1; k < d.words.size(); ++k) {
    const uint32_t m = modifier_of(d.words[k], is_float);
    modifiers |= m;
    if (!m) key.append(".").append(d.words[k]);
  }
  const Row* row = Table::get().find(key);
  if (!row) d.refuse();
  if (modifiers & ~row->modifiers) d.refuse("a modifier that is not known here");
  if (d.arguments.size() != row->sources.size() + 1) d.refuse("another number of operands than known");
  Instruction& out = d.out;
  out.run = row->run;
  out.kind = row->kind;
  out.rounding = rounding_of(d);
  for (size_t k = 0; k < row->sources.size(); ++k) out.source[k] = d.source(k + 1, row->sources[k]);
  out.d = d.destination(0, row->destination);
  d.modes(modifiers);
  if (row->selects && (modifiers & kFtz)) d.reader.after(apply<Flush, float, float>, out.d, out.d);
  if (modifiers & kSat) {
    if (row->destination.kind == Type::Kind::half) d.refuse(".sat to a half type");
    if (row->destination.kind != Type::Kind::f) return;  // a conversion to an integer saturates anyway
    d.reader.after(
        row->destination.bits == 64 ? apply<Saturate<double>, double, double> : apply<Saturate<float>, float, float>,
        out.d, out.d);
  }
}

const std::unordered_map<std::string_view, Decoder>& special_decoders() {
  static const auto* all = [] {
    auto* map = new std::unordered_map<std::string_view, Decoder>;
    add_memory_decoders(*map);
    add_warp_decoders(*map);
    add_matrix_decoders(*map);
    add_select_decoders(*map);
    return map;
  }();
  return *all;
}

}  // namespace

const Table& Table::get() {
  static const auto* table = [] {
    auto* t = new Table;
    add_integer_rows(*t);
    add_float_rows(*t);
    add_half_rows(*t);
    add_conversion_rows(*t);
    add_select_rows(*t);
    return t;
  }();
  return *table;
}

const Row* Table::find(const std::string& key) const {
  const auto found = rows_.find(key);
  return found == rows_.end() ? nullptr : &found->second;
}

std::vector<std::string> Table::keys() const {
  std::vector<std::string> all;
  for (const auto& [key, row] : rows_) all.push_back(key);
  std::sort(all.begin(), all.end());
  return all;
}

void decode(FunctionReader& reader, Instruction& out, std::string_view text) {
  const size_t space = std::min(text.find_first_of(" \t\n"), text.size());
  Decoding d{reader, out, split(text.substr(0, space), '.'), split(trim(text.substr(space)), ','), {}};
  for (std::string_view word : d.words) {
    Type type;
    if (read_type(word, type)) d.types.push_back(type);
  }
  const auto special = special_decoders().find(d.opcode());
  if (special == special_decoders().end()) return decode_row(d);
  special->second(d);
}

void Decoding::modes(uint32_t modifiers) {
  const bool in_hardware = std::any_of(types.begin(), types.end(), [](Type t) { return t.kind == Type::Kind::f; });
  if (!in_hardware || !(modifiers & (kRounding | kFtz))) return;
  constexpr uint32_t rounding[] = {0, 0x6000, 0x2000, 0x4000};
  out.csr = (modifiers & kRounding ? rounding[out.rounding] : 0) | (modifiers & kFtz ? 0x8040u : 0);
  out.inner = out.run;
  out.run = under_csr;
}

bool Decoding::has(std::string_view word) const {
  return std::find(words.begin() + 1, words.end(), word) != words.end();
}

bool Decoding::only(std::initializer_list<std::string_view> allowed) const {
  return std::all_of(words.begin() + 1, words.end(), [&](std::string_view word) {
    Type type;
    return read_type(word, type) || std::find(allowed.begin(), allowed.end(), word) != allowed.end();
  });
}

void Decoding::refuse(const std::string& why) const { reader.refuse(why, out.text); }

uint64_t Decoding::constant(size_t argument) const {
  if (argument >= arguments.size() || !is_number(arguments[argument])) refuse("a number is missing");
  return number(arguments[argument], {});
}

Operand Decoding::source(size_t argument, Type type) {
  if (argument >= arguments.size()) refuse("an operand is missing");
  return source(arguments[argument], type);
}

Operand Decoding::source(std::string_view text, Type type) {
  const int bits = type.kind == Type::Kind::predicate ? 1 : type.bits;
  if (is_number(text)) return reader.constant(number(text, type), bits);
  if (const auto r = reader.find_register(text)) {
    if ((r->bits == 1) != (bits == 1) || (bits == 64 && r->bits < 64)) refuse("a register too narrow");
    if (r->bits < 64 || bits == 64) return r->place;
    const Operand part = reader.temporary(32);
    reader.before(apply<Truncate, uint32_t, uint64_t>, part, r->place);
    return part;
  }
  const Variable* v = reader.find_variable(text);
  if (!v) refuse("unknown operand " + std::string(text));
  return reader.variable_address(*v, bits);
}

Operand Decoding::destination(std::string_view text, Type type) {
  if (text == "_") return {};
  const auto r = reader.find_register(text);
  const int bits = type.kind == Type::Kind::predicate ? 1 : type.bits;
  if (!r || (r->bits == 1) != (bits == 1) || (bits == 64 && r->bits < 64))
    refuse("no such destination " + std::string(text));
  if (r->bits < 64 || bits == 64) return r->place;
  const Operand part = reader.temporary(32);
  reader.after(
      type.kind == Type::Kind::s ? Handler{apply<SignExtend, int64_t, int32_t>} : apply<ZeroExtend, uint64_t, uint32_t>,
      r->place, part);
  return part;
}

Operand Decoding::predicate(std::string_view text) {
  if (text.starts_with('!')) {
    out.negated_operand = true;
    text.remove_prefix(1);
  }
  return source(text, {Type::Kind::predicate, 1});
}

// [register + offset], [variable + offset], [number]
void Decoding::address(size_t argument) {
  if (argument >= arguments.size() || !arguments[argument].starts_with('[')) refuse("an address is missing");
  std::string_view text = arguments[argument];
  text = trim(text.substr(1, text.rfind(']') - 1));
  const size_t sign = text.find_first_of("+-", 1);
  if (sign != std::string_view::npos) {
    std::string_view offset = trim(text.substr(sign));
    if (offset[0] == '+') offset = trim(offset.substr(1));
    out.immediate = static_cast<int64_t>(number(offset, {}));
    text = trim(text.substr(0, sign));
  }
  const auto r = reader.find_register(text);
  if (r && r->bits == 32) {  // addresses are 64 bits wide in the engine
    out.source[0] = reader.temporary(64);
    reader.before(apply<ZeroExtend, uint64_t, uint32_t>, out.source[0], r->place);
  } else {
    out.source[0] = source(text, {Type::Kind::u, 64});
  }
}

void Decoding::list(std::string_view text, Type type, bool is_destination, size_t at) {
  for (std::string_view element : elements(text)) {
    if (at >= out.list.size()) refuse("too many elements");
    out.list[at++] = is_destination ? destination(element, type) : source(element, type);
  }
  out.count = static_cast<uint8_t>(at);
}

void Decoding::branch(std::string_view label) { reader.branch_to(label); }

}  // namespace switchyard::simgpu
