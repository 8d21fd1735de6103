// Moves, comparisons, selections and predicates.
#include "tests/simgpu/decode.h"
#include "tests/simgpu/function.h"

namespace switchyard::simgpu {
namespace {

using Kind = Type::Kind;
constexpr Type kPredicate{Kind::predicate, 1};

struct Copy {
  template <class T>
  T operator()(T a) const {
    return a;
  }
};

enum Comparison : uint8_t { kEq, kNe, kLt, kLe, kGt, kGe, kEqu, kNeu, kLtu, kLeu, kGtu, kGeu, kNum, kNan };

template <class F>
uint32_t collect(F is_true) {
  uint32_t out = 0;
  for (int l = 0; l < 32; ++l) out |= static_cast<uint32_t>(is_true(l)) << l;
  return out;
}

template <class T>
uint32_t compare_lanes(Warp& w, const Instruction& i) {
  const Slot<T>*a = slots<T>(w, i.source[0]), *b = slots<T>(w, i.source[1]);
  auto value = [](Slot<T> s) {
    if constexpr (std::is_same_v<T, BF16> || std::is_same_v<T, F16>)
      return widen(get<T>(s));
    else
      return get<T>(s);
  };
  auto with = [&](auto f) { return collect([&](int l) { return f(value(a[l]), value(b[l])); }); };
  auto unordered = [&] { return with([](auto x, auto y) { return x != x || y != y; }); };
  switch (i.kind) {
    case kEq: return with([](auto x, auto y) { return x == y; });
    case kNe: return with([](auto x, auto y) { return x != y; }) & ~unordered();
    case kLt: return with([](auto x, auto y) { return x < y; });
    case kLe: return with([](auto x, auto y) { return x <= y; });
    case kGt: return with([](auto x, auto y) { return x > y; });
    case kGe: return with([](auto x, auto y) { return x >= y; });
    case kEqu: return with([](auto x, auto y) { return x == y; }) | unordered();
    case kNeu: return with([](auto x, auto y) { return x != y; });
    case kLtu: return with([](auto x, auto y) { return !(x >= y); });
    case kLeu: return with([](auto x, auto y) { return !(x > y); });
    case kGtu: return with([](auto x, auto y) { return !(x <= y); });
    case kGeu: return with([](auto x, auto y) { return !(x < y); });
    case kNum: return ~unordered();
    default: return unordered();
  }
}

uint32_t combined(Warp& w, const Instruction& i, uint32_t result) {
  if (!i.combine) return result;
  const uint32_t other = i.negated_operand ? ~bits(w, i.source[2]) : bits(w, i.source[2]);
  return i.combine == 1 ? result & other : i.combine == 2 ? result | other : result ^ other;
}

template <class T>
void set_predicate(Warp& w, const Instruction& i, uint32_t active) {
  const uint32_t result = compare_lanes<T>(w, i);
  const uint32_t first = combined(w, i, result), second = combined(w, i, ~result);
  set_bits(w, i.d, active, first);
  if (i.d2) set_bits(w, i.d2, active, second);
}

template <class T>  // all bits of the destination, or 1.0 of its type
void set_value(Warp& w, const Instruction& i, uint32_t active) {
  const uint32_t result = combined(w, i, compare_lanes<T>(w, i));
  const auto is_true = static_cast<uint32_t>(i.immediate);
  store_lanes<uint32_t>(slots<uint32_t>(w, i.d), active, [=](int l) { return result >> l & 1 ? is_true : 0; });
}

template <class T>
void select(Warp& w, const Instruction& i, uint32_t active) {
  const Slot<T>*a = slots<T>(w, i.source[0]), *b = slots<T>(w, i.source[1]);
  const uint32_t p = bits(w, i.source[2]);
  store_lanes<T>(slots<T>(w, i.d), active, [=](int l) { return get<T>(p >> l & 1 ? a[l] : b[l]); });
}

template <class T>
void select_by_sign(Warp& w, const Instruction& i, uint32_t active) {  // slct: a if c >= 0
  const Slot<T>*a = slots<T>(w, i.source[0]), *b = slots<T>(w, i.source[1]);
  const uint32_t* c = slots<uint32_t>(w, i.source[2]);
  const bool real = i.kind != 0;
  store_lanes<T>(slots<T>(w, i.d), active, [=](int l) {
    const bool first = real ? std::bit_cast<float>(c[l]) >= 0 : static_cast<int32_t>(c[l]) >= 0;
    return get<T>(first ? a[l] : b[l]);
  });
}

enum Logic : uint8_t { kAnd, kOr, kXor, kNot, kMove };
template <Logic logic>
void on_predicates(Warp& w, const Instruction& i, uint32_t active) {
  const uint32_t a = bits(w, i.source[0]), b = i.source[1] ? bits(w, i.source[1]) : 0;
  set_bits(w, i.d, active,
           logic == kAnd   ? a & b
           : logic == kOr  ? a | b
           : logic == kXor ? a ^ b
           : logic == kNot ? ~a
                           : a);
}

// mov between a register and the elements that it consists of.
template <class Whole>
void pack(Warp& w, const Instruction& i, uint32_t active) {
  const int width = 8 * static_cast<int>(sizeof(Whole)) / i.count;
  store_lanes<Whole>(slots<Whole>(w, i.d), active, [&](int l) {
    Whole out = 0;
    for (int k = 0; k < i.count; ++k) {
      const Whole part = slots<uint32_t>(w, i.list[k])[l] & (width == 32 ? ~0u : (1u << width) - 1);
      out |= part << (width * k);
    }
    return out;
  });
}
template <class Whole>
void unpack(Warp& w, const Instruction& i, uint32_t active) {
  const int width = 8 * static_cast<int>(sizeof(Whole)) / i.count;
  std::array<Slot<Whole>, 32> whole;
  std::memcpy(whole.data(), slots<Whole>(w, i.source[0]), sizeof whole);
  for (int k = 0; k < i.count; ++k) {
    if (!i.list[k]) continue;
    store_lanes<uint32_t>(slots<uint32_t>(w, i.list[k]), active, [&](int l) {
      return static_cast<uint32_t>(whole[l] >> (width * k)) & (width == 32 ? ~0u : (1u << width) - 1);
    });
  }
}

void decode_mov(Decoding& d) {
  if (!d.only({}) || d.types.size() != 1 || d.arguments.size() != 2) d.refuse();
  const Type type = d.type();
  Instruction& out = d.out;
  const bool packs = d.arguments[1].starts_with('{'), unpacks = d.arguments[0].starts_with('{');
  if (packs || unpacks) {
    const std::string_view list = d.arguments[packs ? 1 : 0];
    const int width = type.bits / static_cast<int>(elements(list).size());
    if (type.bits > 64 || type.bits < 16 || width < 8) d.refuse();
    d.list(list, {Kind::bits, width}, unpacks);
    if (packs) {
      out.d = d.destination(0, type);
      out.run = type.bits == 64 ? pack<uint64_t> : type.bits == 32 ? pack<uint32_t> : Handler{pack<uint16_t>};
    } else {
      out.source[0] = d.source(1, type);
      out.run = type.bits == 64 ? unpack<uint64_t> : type.bits == 32 ? unpack<uint32_t> : Handler{unpack<uint16_t>};
    }
    return;
  }
  out.d = d.destination(0, type);
  out.source[0] = d.source(1, type);
  out.run = type.kind == Kind::predicate ? on_predicates<kMove>
            : type.bits == 64            ? apply<Copy, uint64_t, uint64_t>
                                         : Handler{apply<Copy, uint32_t, uint32_t>};
}

// setp.cmp[.bool].type p[|q], a, b[, [!]c] and set.cmp[.bool].dtype.type d, a, b[, [!]c]
void decode_comparison(Decoding& d) {
  static const std::unordered_map<std::string_view, Comparison> comparisons = {
      {"eq", kEq},   {"ne", kNe},   {"lt", kLt},   {"le", kLe},   {"gt", kGt},   {"ge", kGe},
      {"lo", kLt},   {"ls", kLe},   {"hi", kGt},   {"hs", kGe},   {"equ", kEqu}, {"neu", kNeu},
      {"ltu", kLtu}, {"leu", kLeu}, {"gtu", kGtu}, {"geu", kGeu}, {"num", kNum}, {"nan", kNan}};
  const auto comparison = d.words.size() > 1 ? comparisons.find(d.words[1]) : comparisons.end();
  if (comparison == comparisons.end() || d.types.empty() || !d.only({d.words[1], "and", "or", "xor", "ftz"}))
    d.refuse();
  Instruction& out = d.out;
  const Type type = d.type();
  out.kind = comparison->second;
  out.combine = d.has("and") ? 1 : d.has("or") ? 2 : d.has("xor") ? 3 : 0;
  if (d.arguments.size() != (out.combine ? 4u : 3u)) d.refuse();
  out.source[0] = d.source(1, type);
  out.source[1] = d.source(2, type);
  if (out.combine) out.source[2] = d.predicate(d.arguments[3]);
  const bool is_set = d.opcode() == "set", brain = d.words.back() == "bf16";
  auto pick = [&]<class T>(T) { out.run = is_set ? set_value<T> : set_predicate<T>; };
  const bool is_signed = type.kind == Kind::s;
  if (type.kind == Kind::half) {
    brain ? pick(BF16{}) : pick(F16{});
  } else if (type.kind == Kind::f) {
    type.bits == 32 ? pick(float{}) : pick(double{});
  } else if (type.kind == Kind::pair || type.kind == Kind::predicate || type.bits < 16) {
    d.refuse();
  } else if (type.bits == 16) {
    is_signed ? pick(int16_t{}) : pick(uint16_t{});
  } else if (type.bits == 32) {
    is_signed ? pick(int32_t{}) : pick(uint32_t{});
  } else {
    is_signed ? pick(int64_t{}) : pick(uint64_t{});
  }
  if (d.has("ftz")) d.modes(kFtz);
  if (!is_set) {
    const auto both = split(d.arguments[0], '|');
    out.d = d.destination(both[0], kPredicate);
    if (both.size() > 1) out.d2 = d.destination(both[1], kPredicate);
    return;
  }
  const Type result = d.types[0];
  if (d.types.size() != 2 || result.bits > 32 || result.bits < 16 ||
      (result.kind == Kind::half && type.kind != Kind::half))
    d.refuse();
  out.d = d.destination(0, result);
  out.immediate = result.kind == Kind::f      ? 0x3f800000
                  : result.kind == Kind::half ? (brain ? 0x3f80 : 0x3c00)
                                              : 0xffffffff;
}

void decode_slct(Decoding& d) {
  if (!d.only({}) || d.types.size() != 2 || d.types[1].bits != 32) d.refuse();
  const Type type = d.types[0];
  for (size_t k = 0; k < 2; ++k) d.out.source[k] = d.source(k + 1, type);
  d.out.source[2] = d.source(3, d.types[1]);
  d.out.kind = d.types[1].is_float();
  d.out.d = d.destination(0, type);
  d.out.run = type.bits == 64 ? select_by_sign<uint64_t> : Handler{select_by_sign<uint32_t>};
}

}  // namespace

void add_select_rows(Table& t) {
  for (const char* name :
       {"b16", "s16", "u16", "b32", "s32", "u32", "f32", "b64", "s64", "u64", "f64", "f16", "bf16"}) {
    Type type;
    read_type(name, type);
    t.add(std::string("selp.") + name,
          {type.bits == 64 ? select<uint64_t> : Handler{select<uint32_t>}, 0, type, {type, type, kPredicate}});
  }
  t.add("and.pred", {on_predicates<kAnd>, 0, kPredicate, {kPredicate, kPredicate}});
  t.add("or.pred", {on_predicates<kOr>, 0, kPredicate, {kPredicate, kPredicate}});
  t.add("xor.pred", {on_predicates<kXor>, 0, kPredicate, {kPredicate, kPredicate}});
  t.add("not.pred", {on_predicates<kNot>, 0, kPredicate, {kPredicate}});
}

void add_select_decoders(std::unordered_map<std::string_view, Decoder>& decoders) {
  decoders["mov"] = decode_mov;
  decoders["setp"] = decode_comparison;
  decoders["set"] = decode_comparison;
  decoders["slct"] = decode_slct;
}

}  // namespace switchyard::simgpu
