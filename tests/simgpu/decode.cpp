// Decodes one instruction: its words, its row in the table, its operands.
#include "tests/simgpu/decode.h"

#include <xmmintrin.h>

#include <algorithm>

#include "tests/simgpu/function.h"

namespace switchyard::simgpu {
namespace {

using Kind = Type::Kind;

template <class D, class S>
using Cast = decltype([](S v) { return static_cast<D>(v); });
template <class T>
using Saturate = decltype([](T v) { return v > 0 ? (v < 1 ? v : T{1}) : T{0}; });  // NaN becomes 0
using Flush = decltype([](float v) { return std::fabs(v) < 0x1p-126f ? std::copysign(0.0f, v) : v; });

// Runs the ordinary loop under another rounding mode, or with denormals flushed.
void under_csr(Warp& w, const Instruction& i, uint32_t active) {
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before | i.csr);
  i.inner(w, i, active);
  _mm_setcsr(before);
}

uint32_t modifier_of(std::string_view word, bool is_float) {
  if (word == "rn") return kNearest;
  if (word == "rz" || word == "rm" || word == "rp") return kRounding;
  if (word == "ftz") return kFtz;
  if (word == "approx" || word == "full") return kApprox;
  return word == "sat" && is_float ? uint32_t{kSat} : 0;
}

void decode_row(Decoding& d) {
  const bool is_float = std::any_of(d.types.begin(), d.types.end(), [](Type t) { return t.is_float(); });
  std::string key(d.words[0]);
  uint32_t modifiers = 0;
  for (size_t k = 1; k < d.words.size(); ++k) {
    const uint32_t m = modifier_of(d.words[k], is_float);
    modifiers |= m;
    if (!m) key.append(".").append(d.words[k]);
  }
  const auto found = Table::get().rows().find(key);
  d.require(found != Table::get().rows().end());
  const Row& row = found->second;
  if (modifiers & ~row.modifiers) d.refuse("a modifier that is not known here");
  d.require(d.arguments.size() == row.sources.size() + 1);
  Instruction& out = d.out;
  out.run = row.run;
  out.rounding = d.has("rz") || d.has("rzi")   ? 1
                 : d.has("rm") || d.has("rmi") ? 2
                 : d.has("rp") || d.has("rpi") ? 3
                                               : 0;
  for (size_t k = 0; k < row.sources.size(); ++k) out.source[k] = d.source(k + 1, row.sources[k]);
  out.d = d.destination(d.arguments[0], row.destination);
  d.modes(modifiers);
  if (row.selects && (modifiers & kFtz)) d.reader.after(apply<Flush, float, float>, out.d, out.d);
  if (!(modifiers & kSat)) return;
  if (row.destination.kind == Kind::half) d.refuse(".sat to a half type");
  if (row.destination.kind != Kind::f) return;  // a conversion to an integer saturates anyway
  d.reader.after(
      row.destination.bits == 64 ? apply<Saturate<double>, double, double> : apply<Saturate<float>, float, float>,
      out.d, out.d);
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

void decode(FunctionReader& reader, Instruction& out, std::string_view text) {
  const size_t space = std::min(text.find_first_of(" \t\n"), text.size());
  const std::string_view opcode = text.substr(0, space);
  Decoding d{reader, out, opcode, split(opcode, '.'), split(trim(text.substr(space)), ','), {}};
  for (std::string_view word : d.words) {
    Type type;
    if (read_type(word, type)) d.types.push_back(type);
  }
  const auto special = special_decoders().find(d.words[0]);
  if (special == special_decoders().end()) return decode_row(d);
  special->second(d);
}

void Decoding::modes(uint32_t modifiers) {
  const bool in_hardware = std::any_of(types.begin(), types.end(), [](Type t) { return t.kind == Kind::f; });
  if (!in_hardware || !(modifiers & (kRounding | kFtz))) return;
  constexpr uint32_t rounding_bits[] = {0, 0x6000, 0x2000, 0x4000};
  out.csr = (modifiers & kRounding ? rounding_bits[out.rounding] : 0) | (modifiers & kFtz ? 0x8040u : 0);
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

void Decoding::refuse(const std::string& why) const { reader.refuse(why); }

uint64_t Decoding::constant(size_t argument) const {
  if (argument >= arguments.size() || !is_number(arguments[argument])) refuse("a number is missing");
  return number(arguments[argument]);
}

Operand Decoding::source(size_t argument, Type t) {
  if (argument >= arguments.size()) refuse("an operand is missing");
  return source(arguments[argument], t);
}

Operand Decoding::source(std::string_view text, Type t) {
  if (is_number(text)) return reader.constant(number(text, t), t.bits);
  if (const auto r = reader.find_register(text)) {
    if ((r->bits == 1) != (t.bits == 1) || (t.bits == 64 && r->bits < 64))
      refuse(fmt::format("register {} is too narrow", text));
    if (r->bits < 64 || t.bits == 64) return r->place;
    const Operand part = reader.temporary(32);
    reader.before(apply<Cast<uint32_t, uint64_t>, uint32_t, uint64_t>, part, r->place);
    return part;
  }
  const Variable* v = reader.find_variable(text);
  if (!v) refuse(fmt::format("unknown operand {}", text));
  return reader.variable_address(*v, t.bits);
}

Operand Decoding::destination(std::string_view text, Type t) {
  if (text == "_") return {};
  const auto r = reader.find_register(text);
  if (!r || (r->bits == 1) != (t.bits == 1) || (t.bits == 64 && r->bits < 64))
    refuse(fmt::format("no such destination {}", text));
  if (r->bits < 64 || t.bits == 64) return r->place;
  const Operand part = reader.temporary(32);
  reader.after(t.kind == Kind::s ? apply<Cast<int64_t, int32_t>, int64_t, int32_t>
                                 : apply<Cast<uint64_t, uint32_t>, uint64_t, uint32_t>,
               r->place, part);
  return part;
}

void Decoding::destinations(Type t) {
  const auto both = split(arguments.at(0), '|');
  out.d = destination(both[0], t);
  if (both.size() > 1) out.d2 = destination(both[1], {Kind::predicate, 1});
}

Operand Decoding::predicate(std::string_view text) {
  out.negated_operand = text.starts_with('!');
  return source(text.substr(out.negated_operand), {Kind::predicate, 1});
}

// [register + offset], [variable + offset], [number]
void Decoding::address(size_t argument) {
  if (argument >= arguments.size() || !arguments[argument].starts_with('[')) refuse("an address is missing");
  std::string_view text = trim(arguments[argument].substr(1, arguments[argument].rfind(']') - 1));
  if (const size_t sign = text.find_first_of("+-", 1); sign != std::string_view::npos) {
    const std::string_view offset = trim(text.substr(sign + (text[sign] == '+')));
    if (!is_number(offset)) refuse("an offset that is no number");
    out.immediate = static_cast<int64_t>(number(offset));
    text = trim(text.substr(0, sign));
  }
  const auto r = reader.find_register(text);
  if (r && r->bits == 32) {  // addresses are 64 bits wide in the engine
    out.source[0] = reader.temporary(64);
    reader.before(apply<Cast<uint64_t, uint32_t>, uint64_t, uint32_t>, out.source[0], r->place);
  } else {
    out.source[0] = source(text, {Kind::u, 64});
  }
}

void Decoding::list(std::string_view text, Type t, bool is_destination, size_t at) {
  for (std::string_view element : elements(text)) {
    if (at >= out.list.size()) refuse("too many elements");
    out.list[at++] = is_destination ? destination(element, t) : source(element, t);
  }
  out.count = static_cast<uint8_t>(at);
}

}  // namespace switchyard::simgpu
