// Arithmetic of integers (it wraps; shifts by the width or more give what is shifted in), f32 and f64 (rounding modes
// and .ftz come from MXCSR, decode.cpp; functions that the hardware approximates are the host's), conversions, moves
// and comparisons.
#include <xmmintrin.h>

#include <algorithm>
#include <limits>

#include "tests/simgpu/decode.h"

namespace switchyard::simgpu {
namespace {

template <class T>
auto wrap(T a) {
  return static_cast<std::conditional_t<sizeof(T) < 4, uint32_t, std::make_unsigned_t<T>>>(a);
}
template <class T>
T shift_left(T a, uint32_t n) {
  return n < 8 * sizeof(T) ? static_cast<T>(wrap(a) << n) : T{0};
}
template <class T>
T shift_right(T a, uint32_t n) {
  return n < 8 * sizeof(T) ? static_cast<T>(a >> n) : a < 0 ? static_cast<T>(-1) : T{0};
}

template <class... T, class F>
void add_shift(Table& t, Types<T...>, const std::string& name, F f) {
  (t.row<T, T, uint32_t>(key_of<T>(name), f), ...);
}

void add_integers(Table& t) {
  constexpr Integers all;
  constexpr Types<int16_t, int32_t, int64_t> with_sign;
  t.add<2>(all, "add", [](auto a, auto b) { return wrap(a) + wrap(b); });
  t.add<2>(all, "sub", [](auto a, auto b) { return wrap(a) - wrap(b); });
  t.add<2>(all, "mul.lo", [](auto a, auto b) { return wrap(a) * wrap(b); });
  t.add<3>(all, "mad.lo", [](auto a, auto b, auto c) { return wrap(a) * wrap(b) + wrap(c); });
  t.add<2>(all, "min", [](auto a, auto b) { return std::min(a, b); });
  t.add<2>(all, "max", [](auto a, auto b) { return std::max(a, b); });
  // By 0: all ones, and the dividend, as the hardware gives.
  t.add<2>(all, "div", [](auto a, auto b) -> decltype(a) {
    if (b == 0) return static_cast<decltype(a)>(-1);
    return std::is_signed_v<decltype(a)> && b == static_cast<decltype(b)>(-1) ? -wrap(a) : a / b;
  });
  t.add<2>(all, "rem", [](auto a, auto b) -> decltype(a) {
    if (b == 0) return a;
    return std::is_signed_v<decltype(a)> && b == static_cast<decltype(b)>(-1) ? 0 : a % b;
  });
  t.add<1>(with_sign, "neg", [](auto a) { return -wrap(a); });
  t.add<1>(with_sign, "abs", [](auto a) { return a < 0 ? -wrap(a) : wrap(a); });
  t.row<int64_t, int32_t, int32_t>("mul.wide.s32", [](int64_t a, int64_t b) { return a * b; });
  t.row<uint64_t, uint32_t, uint32_t>("mul.wide.u32", [](uint64_t a, uint64_t b) { return a * b; });
  t.add<2>(Words{}, "and.b", [](auto a, auto b) { return a & b; });
  t.add<2>(Words{}, "or.b", [](auto a, auto b) { return a | b; });
  t.add<2>(Words{}, "xor.b", [](auto a, auto b) { return a ^ b; });
  t.add<1>(Words{}, "not.b", [](auto a) { return ~a; });
  t.row<uint32_t, uint32_t>("popc.b32", [](uint32_t a) { return std::popcount(a); });
  const auto right = [](auto a, uint32_t n) { return shift_right(a, n); };
  add_shift(t, Words{}, "shl.b", [](auto a, uint32_t n) { return shift_left(a, n); });
  add_shift(t, Words{}, "shr.b", right);
  add_shift(t, all, "shr", right);
}

// ---- f32 and f64

// The operand of a function that does not look at MXCSR: denormals are zero if it says so.
float operand(float v) { return (_mm_getcsr() & 0x40) && std::fabs(v) < 0x1p-126f ? std::copysign(0.0f, v) : v; }

template <bool largest, class T>
T extreme(T a, T b) {  // a number rather than NaN; -0 is below +0
  if (a != a || b != b) return a != a ? b : a;
  const bool first = largest ? a > b || (a == b && std::signbit(b)) : a < b || (a == b && std::signbit(a));
  return first ? a : b;
}
template <class T, class F>
T bitwise(T a, F f) {  // f(bits, the sign's)
  return std::bit_cast<T>(f(std::bit_cast<Slot<T>>(a), Slot<T>{1} << (8 * sizeof(T) - 1)));
}

template <int sources, uint32_t single = 0, class F>
void add_rounded(Table& t, const std::string& name, F f) {
  t.add<sources, kNearest | kRounding | kFtz | single>(Types<float>{}, name, f);
  t.add<sources, kNearest | kRounding>(Types<double>{}, name, f);
}

void add_reals(Table& t) {
  constexpr Reals both;
  add_rounded<2>(t, "add", [](auto a, auto b) { return a + b; });
  add_rounded<2>(t, "sub", [](auto a, auto b) { return a - b; });
  add_rounded<2>(t, "mul", [](auto a, auto b) { return a * b; });
  add_rounded<3>(t, "fma", [](auto a, auto b, auto c) { return std::fma(a, b, c); });
  add_rounded<2, kApprox>(t, "div", [](auto a, auto b) { return a / b; });
  add_rounded<1, kApprox>(t, "sqrt", [](auto a) { return std::sqrt(a); });
  t.add<1, kNearest | kRounding | kFtz | kApprox>(both, "rcp", [](auto a) { return 1 / a; });
  t.add<1, kFtz | kApprox>(Types<float>{}, "ex2", [](float a) { return std::exp2(operand(a)); });
  t.add<2>(both, "copysign", [](auto a, auto b) { return std::copysign(b, a); });  // the sign of a, the value of b
  t.add<2>(both, "min", [](auto a, auto b) { return extreme<false>(a, b); });
  t.add<2>(both, "max", [](auto a, auto b) { return extreme<true>(a, b); });
  t.add<1>(both, "neg", [](auto a) { return bitwise(a, [](auto b, auto sign) { return b ^ sign; }); });
  t.add<1>(both, "abs", [](auto a) { return bitwise(a, [](auto b, auto sign) { return b & ~sign; }); });
}

// ---- cvt

template <class D>
D clamp_to(double v) {  // v is whole; NaN gives 0, or the bit pattern of 64 bits that the hardware gives
  using Limits = std::numeric_limits<D>;
  if (v != v) return sizeof(D) == 8 ? static_cast<D>(uint64_t{1} << 63) : D{0};
  if (v <= static_cast<double>(Limits::min())) return Limits::min();
  return v >= static_cast<double>(Limits::max()) ? Limits::max() : static_cast<D>(v);
}

template <class D, class S>
void add_conversion(Table& t) {
  constexpr bool from_real = std::is_floating_point_v<S>, to_real = std::is_floating_point_v<D>;
  constexpr bool same = std::is_same_v<D, S>, single = std::is_same_v<D, float> || std::is_same_v<S, float>;
  constexpr uint32_t modes = kSat | (single && !same ? uint32_t{kFtz} : 0);
  const std::string types = name_of<D>() + '.' + name_of<S>();
  [[maybe_unused]] const auto convert = [](S v) { return static_cast<D>(v); };
  [[maybe_unused]] const auto round = [](S v) {
    return std::nearbyint(v);
  };  // .ri: to a whole number, in the mode of the moment
  [[maybe_unused]] const auto clamp = [](S v) { return clamp_to<D>(std::nearbyint(static_cast<double>(v))); };
  if constexpr (to_real || !from_real) t.row<D, S>("cvt." + types, convert, to_real ? modes | kNearest | kRounding : 0);
  if constexpr (from_real && !to_real) t.row<D, S>("cvt.ri." + types, clamp, modes);
  if constexpr (from_real && same) t.row<D, S>("cvt.ri." + types, round, modes);
}
template <class... T>
void add_conversions(Table& t, Types<T...>) {
  auto to = [&]<class D>(D) { (add_conversion<D, T>(t), ...); };
  (to(T{}), ...);
}

// bf16 and f16 are their bits.
void add_half_conversions(Table& t) {
  const auto to_bf16 = [](float v) {
    const uint32_t u = std::bit_cast<uint32_t>(v);
    return static_cast<uint16_t>(v != v ? 0x7fffu : (u + 0x7fff + (u >> 16 & 1)) >> 16);
  };
  const auto to_f16 = [](float v) {
    return v != v ? uint16_t{0x7fff} : std::bit_cast<uint16_t>(static_cast<_Float16>(v));
  };
  t.row<uint16_t, float>("cvt.bf16.f32", to_bf16, kNearest);
  t.row<uint16_t, float>("cvt.f16.f32", to_f16, kNearest);
  t.row<float, uint16_t>("cvt.f32.bf16", [](uint16_t v) { return std::bit_cast<float>(uint32_t{v} << 16); });
  t.row<float, uint16_t>("cvt.f32.f16", [](uint16_t v) { return static_cast<float>(std::bit_cast<_Float16>(v)); });
}

// ---- mov, selp, setp

// mov between a register and the elements that it consists of.
template <class Whole>
void pack(Warp& w, const Instruction& i, uint32_t active) {
  const int width = 8 * static_cast<int>(sizeof(Whole)) / i.count;
  store_lanes<Whole>(w, i.d, active, [&](int l) {
    uint64_t out = 0;
    for (int k = i.count; k-- > 0;)
      out = out << width | (slots<uint32_t>(w, i.list[k])[l] & ((uint64_t{1} << width) - 1));
    return static_cast<Whole>(out);
  });
}
template <class Whole>
void unpack(Warp& w, const Instruction& i, uint32_t active) {
  const int width = 8 * static_cast<int>(sizeof(Whole)) / i.count;
  std::array<Slot<Whole>, 32> whole;
  std::memcpy(whole.data(), slots<Whole>(w, i.source[0]), sizeof whole);
  for (int k = 0; k < i.count; ++k) {
    if (!i.list[k]) continue;
    store_lanes<uint32_t>(w, i.list[k], active, [&](int l) {
      return static_cast<uint32_t>(whole[l] >> (width * k) & ((uint64_t{1} << width) - 1));
    });
  }
}

void decode_mov(KernelReader& d) {
  d.require(d.arguments.size() == 2);
  const bool packs = d.arguments[1].starts_with('{'), unpacks = d.arguments[0].starts_with('{');
  if (!packs && !unpacks) return d.decode_row();
  const Type type = d.type();
  const std::string_view list = d.arguments[packs ? 1 : 0];
  const int width = type.bits / static_cast<int>(elements(list).size());
  d.require(d.only("") && (type.bits == 32 || type.bits == 64) && width >= 8 && width <= 32);
  d.list(list, {Type::Kind::bits, width}, unpacks);
  if (packs)
    d.out.d = d.destination(d.arguments[0], type);
  else
    d.out.source[0] = d.source(1, type);
  d.out.run = packs ? (type.bits == 64 ? pack<uint64_t> : pack<uint32_t>)
                    : (type.bits == 64 ? unpack<uint64_t> : unpack<uint32_t>);
}

template <class... T, class F>
void add_comparison(Table& t, Types<T...>, const std::string& name, F f) {
  (t.row<Pred, T, T>(key_of<T>("setp." + name), f, std::is_same_v<T, float> ? uint32_t{kFtz} : 0), ...);
}

template <class... T>
void add_moves(Table& t, Types<T...>, const std::string& suffix) {
  (t.row<T, T>(key_of<T>("mov" + suffix), [](T a) { return a; }), ...);
  (t.row<T, T, T, Pred>(key_of<T>("selp" + suffix), [](T a, T b, bool p) { return p ? a : b; }), ...);
}

}  // namespace

void add_arithmetic(Table& t) {
  add_integers(t);
  add_reals(t);
  add_conversions(t, Types<int8_t, uint8_t, int16_t, uint16_t, int32_t, uint32_t, int64_t, uint64_t, float, double>{});
  add_half_conversions(t);
}

void add_moves_and_comparisons(Table& t) {
  constexpr Types<int16_t, uint16_t, int32_t, uint32_t, int64_t, uint64_t, float, double> all;
  t.decoders["mov"] = decode_mov;
  add_moves(t, all, "");
  add_moves(t, Words{}, ".b");
  t.row<Pred, Pred>("mov.pred", [](bool a) { return a; });
  t.row<Pred, Pred>("not.pred", [](bool a) { return !a; });
  t.row<Pred, Pred, Pred>("and.pred", [](bool a, bool b) { return a && b; });
  t.row<Pred, Pred, Pred>("or.pred", [](bool a, bool b) { return a || b; });
  t.row<Pred, Pred, Pred>("xor.pred", [](bool a, bool b) { return a != b; });
  add_comparison(t, Words{}, "eq.b", [](auto a, auto b) { return a == b; });
  add_comparison(t, Words{}, "ne.b", [](auto a, auto b) { return a != b; });
  add_comparison(t, all, "eq", [](auto a, auto b) { return a == b; });
  add_comparison(t, all, "ne", [](auto a, auto b) { return a < b || a > b; });
  add_comparison(t, all, "lt", [](auto a, auto b) { return a < b; });
  add_comparison(t, all, "le", [](auto a, auto b) { return a <= b; });
  add_comparison(t, all, "gt", [](auto a, auto b) { return a > b; });
  add_comparison(t, all, "ge", [](auto a, auto b) { return a >= b; });
  add_comparison(t, Reals{}, "equ", [](auto a, auto b) { return !(a < b || a > b); });
  add_comparison(t, Reals{}, "neu", [](auto a, auto b) { return a != b; });
  add_comparison(t, Reals{}, "ltu", [](auto a, auto b) { return !(a >= b); });
  add_comparison(t, Reals{}, "leu", [](auto a, auto b) { return !(a > b); });
  add_comparison(t, Reals{}, "gtu", [](auto a, auto b) { return !(a <= b); });
  add_comparison(t, Reals{}, "geu", [](auto a, auto b) { return !(a < b); });
  add_comparison(t, Reals{}, "num", [](auto a, auto b) { return a == a && b == b; });
  add_comparison(t, Reals{}, "nan", [](auto a, auto b) { return a != a || b != b; });
}

}  // namespace switchyard::simgpu
