// Moves, comparisons, selections and predicates.
#include "tests/simgpu/decode.h"

namespace switchyard::simgpu {
namespace {

using Kind = Type::Kind;
constexpr Type kPredicate{Kind::predicate, 1};

enum Comparison : uint8_t { kEq, kNe, kLt, kLe, kGt, kGe, kEqu, kNeu, kLtu, kLeu, kGtu, kGeu, kNum, kNan };
const std::unordered_map<std::string_view, Comparison> comparisons = {
    {"eq", kEq},   {"ne", kNe},   {"lt", kLt},   {"le", kLe},   {"gt", kGt},   {"ge", kGe},
    {"lo", kLt},   {"ls", kLe},   {"hi", kGt},   {"hs", kGe},   {"equ", kEqu}, {"neu", kNeu},
    {"ltu", kLtu}, {"leu", kLeu}, {"gtu", kGtu}, {"geu", kGeu}, {"num", kNum}, {"nan", kNan}};

template <class T>
uint32_t compare(Warp& w, const Instruction& i) {
  const Slot<T>*a = slots<T>(w, i.source[0]), *b = slots<T>(w, i.source[1]);
  auto value = [](Slot<T> s) {
    if constexpr (is_half<T>)
      return widen(get<T>(s));
    else
      return get<T>(s);
  };
  auto lanes = [&](auto f) {
    uint32_t out = 0;
    for (int l = 0; l < 32; ++l) out |= static_cast<uint32_t>(f(value(a[l]), value(b[l]))) << l;
    return out;
  };
  auto unordered = [&] { return lanes([](auto x, auto y) { return x != x || y != y; }); };
  switch (i.kind) {
    case kEq: return lanes([](auto x, auto y) { return x == y; });
    case kNe: return lanes([](auto x, auto y) { return x != y; }) & ~unordered();
    case kLt: return lanes([](auto x, auto y) { return x < y; });
    case kLe: return lanes([](auto x, auto y) { return x <= y; });
    case kGt: return lanes([](auto x, auto y) { return x > y; });
    case kGe: return lanes([](auto x, auto y) { return x >= y; });
    case kEqu: return lanes([](auto x, auto y) { return x == y; }) | unordered();
    case kNeu: return lanes([](auto x, auto y) { return x != y; });
    case kLtu: return lanes([](auto x, auto y) { return !(x >= y); });
    case kLeu: return lanes([](auto x, auto y) { return !(x > y); });
    case kGtu: return lanes([](auto x, auto y) { return !(x <= y); });
    case kGeu: return lanes([](auto x, auto y) { return !(x < y); });
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
  const uint32_t result = compare<T>(w, i), first = combined(w, i, result), second = combined(w, i, ~result);
  set_bits(w, i.d, active, first);
  if (i.d2) set_bits(w, i.d2, active, second);
}
template <class T>
void set_value(Warp& w, const Instruction& i, uint32_t active) {  // all bits of the destination, or 1.0 of its type
  const uint32_t result = combined(w, i, compare<T>(w, i));
  store_lanes<uint32_t>(w, i.d, active,
                        [&](int l) { return result >> l & 1 ? static_cast<uint32_t>(i.immediate) : 0; });
}

template <class T>
void select(Warp& w, const Instruction& i, uint32_t active) {
  const Slot<T>*a = slots<T>(w, i.source[0]), *b = slots<T>(w, i.source[1]);
  const uint32_t p = bits(w, i.source[2]);
  store_lanes<T>(w, i.d, active, [=](int l) { return get<T>(p >> l & 1 ? a[l] : b[l]); });
}

template <class F>
void on_predicates(Warp& w, const Instruction& i, uint32_t active) {
  set_bits(w, i.d, active, F()(bits(w, i.source[0]), i.source[1] ? bits(w, i.source[1]) : 0));
}

// mov between a register and the elements that it consists of.
uint32_t mask_of(int width) { return width == 32 ? ~0u : (1u << width) - 1; }
template <class Whole>
void pack(Warp& w, const Instruction& i, uint32_t active) {
  const int width = 8 * static_cast<int>(sizeof(Whole)) / i.count;
  store_lanes<Whole>(w, i.d, active, [&](int l) {
    Whole out = 0;
    for (int k = 0; k < i.count; ++k)
      out |= static_cast<Whole>(slots<uint32_t>(w, i.list[k])[l] & mask_of(width)) << (width * k);
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
    store_lanes<uint32_t>(w, i.list[k], active,
                          [&](int l) { return static_cast<uint32_t>(whole[l] >> (width * k)) & mask_of(width); });
  }
}

template <class T>
struct Copy {
  T operator()(T a) const { return a; }
};
using First = decltype([](uint32_t a, uint32_t) { return a; });

void decode_mov(Decoding& d) {
  d.require(d.only({}) && d.types.size() == 1 && d.arguments.size() == 2);
  const Type type = d.type();
  Instruction& out = d.out;
  const bool packs = d.arguments[1].starts_with('{'), unpacks = d.arguments[0].starts_with('{');
  if (packs || unpacks) {
    const std::string_view list = d.arguments[packs ? 1 : 0];
    const int width = type.bits / static_cast<int>(elements(list).size());
    d.require(type.bits <= 64 && type.bits >= 16 && width >= 8);
    d.list(list, {Kind::bits, width}, unpacks);
  }
  if (!packs && !unpacks) {
    out.run = type.kind == Kind::predicate ? on_predicates<First>
              : type.bits == 64            ? apply<Copy<uint64_t>, uint64_t, uint64_t>
                                           : apply<Copy<uint32_t>, uint32_t, uint32_t>;
  } else if (packs) {
    out.run = type.bits == 64 ? pack<uint64_t> : type.bits == 32 ? pack<uint32_t> : pack<uint16_t>;
  } else {
    out.run = type.bits == 64 ? unpack<uint64_t> : type.bits == 32 ? unpack<uint32_t> : unpack<uint16_t>;
  }
  if (!unpacks) out.d = d.destination(d.arguments[0], type);
  if (!packs) out.source[0] = d.source(1, type);
}

// setp.cmp[.bool].type p[|q], a, b[, [!]c] and set.cmp[.bool].dtype.type d, a, b[, [!]c]
void decode_comparison(Decoding& d) {
  d.require(d.words.size() > 2 && comparisons.count(d.words[1]) && !d.types.empty() &&
            d.only({d.words[1], "and", "or", "xor", "ftz"}));
  Instruction& out = d.out;
  const Type type = d.type();
  out.kind = comparisons.at(d.words[1]);
  out.combine = d.has("and") ? 1 : d.has("or") ? 2 : d.has("xor") ? 3 : 0;
  d.require(d.arguments.size() == (out.combine ? 4 : 3));
  out.source[0] = d.source(1, type);
  out.source[1] = d.source(2, type);
  if (out.combine) out.source[2] = d.predicate(d.arguments[3]);
  const bool is_set = d.words[0] == "set";
  auto pick = [&]<class... T>(Types<T...>) {
    ((d.words.back() == name_of<T>() ? static_cast<void>(out.run = is_set ? set_value<T> : set_predicate<T>) : void()),
     ...);
  };
  pick(Types<int16_t, uint16_t, int32_t, uint32_t, int64_t, uint64_t, float, double, BF16, F16>{});
  if (type.kind == Kind::bits)
    out.run = type.bits == 16   ? set_predicate<uint16_t>
              : type.bits == 32 ? set_predicate<uint32_t>
                                : set_predicate<uint64_t>;
  d.require(out.run && !(is_set && type.kind == Kind::bits));
  if (d.has("ftz")) d.modes(kFtz);
  if (!is_set) return d.destinations(kPredicate);
  const Type result = d.types[0];
  d.require(d.types.size() == 2 && result.bits <= 32 && result.bits >= 16 &&
            (result.kind != Kind::half || type.kind == Kind::half));
  out.d = d.destination(d.arguments[0], result);
  out.immediate = result.kind == Kind::f      ? 0x3f800000
                  : result.kind != Kind::half ? 0xffffffff
                  : d.words.back() == "bf16"  ? 0x3f80
                                              : 0x3c00;
}

}  // namespace

void add_select_rows(Table& t) {
  for (const char* name :
       {"b16", "s16", "u16", "b32", "s32", "u32", "f32", "b64", "s64", "u64", "f64", "f16", "bf16"}) {
    Type type;
    read_type(name, type);
    t.add(std::string("selp.") + name,
          {type.bits == 64 ? select<uint64_t> : select<uint32_t>, 0, type, {type, type, kPredicate}});
  }
  t.add("and.pred", {on_predicates<std::bit_and<>>, 0, kPredicate, {kPredicate, kPredicate}});
  t.add("or.pred", {on_predicates<std::bit_or<>>, 0, kPredicate, {kPredicate, kPredicate}});
  t.add("xor.pred", {on_predicates<std::bit_xor<>>, 0, kPredicate, {kPredicate, kPredicate}});
  t.add("not.pred", {on_predicates<decltype([](uint32_t a, uint32_t) { return ~a; })>, 0, kPredicate, {kPredicate}});
}

void add_select_decoders(Decoders& decoders) {
  decoders["mov"] = decode_mov;
  decoders["setp"] = decode_comparison;
  decoders["set"] = decode_comparison;
}

}  // namespace switchyard::simgpu
