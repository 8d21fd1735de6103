// f32, f64, bf16 and f16 arithmetic. Rounding modes and .ftz of f32 and f64 come from MXCSR (decode.cpp); functions
// that the hardware approximates are computed with the host's libm, within 1 ulp. bf16 and f16 go through f64 and are
// rounded once.
#include <xmmintrin.h>

#include <algorithm>
#include <limits>

#include "tests/simgpu/decode.h"

namespace switchyard::simgpu {

template <class H>
H narrow(double v) {
  constexpr bool brain = std::is_same_v<H, BF16>;
  constexpr int mantissa = brain ? 7 : 10, lowest = (brain ? -126 : -14) - mantissa;
  constexpr uint32_t infinity = brain ? 0x7f80 : 0x7c00;
  if (v != v) return {0x7fff};
  const uint32_t sign = std::signbit(v) ? 0x8000 : 0, rounding = _mm_getcsr() & 0x6000;
  if (std::isinf(v)) return {static_cast<uint16_t>(sign | infinity)};
  int exponent = 0;
  std::frexp(v, &exponent);
  const int unit = v == 0 ? lowest : std::max(exponent - 1 - mantissa, lowest);  // exponent of the last place
  const double scaled = std::ldexp(std::fabs(v), -unit), whole = std::floor(scaled), rest = scaled - whole;
  auto r = static_cast<uint64_t>(whole);
  const bool away = rounding == (sign ? 0x2000 : 0x4000);  // towards larger size
  if (rounding == 0 ? rest > 0.5 || (rest == 0.5 && (r & 1)) : away && rest > 0) ++r;
  const uint64_t bits = r + (static_cast<uint64_t>(unit - lowest) << mantissa);
  if (bits < infinity) return {static_cast<uint16_t>(sign | bits)};
  return {static_cast<uint16_t>(sign | (rounding == 0 || away ? infinity : infinity - 1))};
}
template BF16 narrow<BF16>(double);
template F16 narrow<F16>(double);

namespace {

template <class T>
auto value(T v) {
  if constexpr (is_half<T>)
    return widen(v);
  else
    return v;
}

// The operand of a function that does not look at MXCSR: denormals are zero if it says so.
float operand(float v) { return (_mm_getcsr() & 0x40) && std::fabs(v) < 0x1p-126f ? std::copysign(0.0f, v) : v; }

template <bool largest, bool keep_nan, class T>
T extreme(T a, T b) {  // -0 is below +0
  const auto x = value(a), y = value(b);
  if (x != x || y != y) {
    if constexpr (is_half<T>) {
      if (keep_nan || (x != x && y != y)) return T{0x7fff};
    }
    return keep_nan == (x != x) ? a : b;
  }
  const bool first = largest ? x > y || (x == y && std::signbit(y)) : x < y || (x == y && std::signbit(x));
  return first ? a : b;
}

// a + b with the last bit set if it is not exact, so that rounding it again is rounding once.
double add_to_odd(double a, double b) {
  const double sum = a + b;
  const double back = sum - a, rest = (a - (sum - back)) + (b - back);
  const auto bits = std::bit_cast<uint64_t>(sum);
  if (rest == 0 || rest != rest || (bits & 1)) return sum;
  return std::bit_cast<double>((rest > 0) == (sum > 0) ? bits + 1 : bits - 1);
}
template <bool relu, class H>
H fused(H a, H b, H c) {
  const H r = narrow<H>(add_to_odd(double{widen(a)} * widen(b), widen(c)));
  return relu && (r.bits & 0x8000) ? H{0} : r;
}

template <int sources, class F>
void add_both(Table& t, const std::string& name, F f, uint32_t single, uint32_t twice = kNearest | kRounding) {
  t.rows<sources>(Types<float>{}, name, f, single);
  t.rows<sources>(Types<double>{}, name, f, twice);
}

void add_single_rows(Table& t) {
  constexpr Types<float> single;
  constexpr uint32_t modes = kNearest | kRounding | kFtz | kApprox, approximate = kFtz | kApprox;
  add_both<2>(
      t, "add", [](auto a, auto b) { return a + b; }, kFloatModes);
  add_both<2>(
      t, "sub", [](auto a, auto b) { return a - b; }, kFloatModes);
  add_both<2>(
      t, "mul", [](auto a, auto b) { return a * b; }, kFloatModes);
  add_both<2>(
      t, "div", [](auto a, auto b) { return a / b; }, modes);
  add_both<3>(
      t, "fma", [](auto a, auto b, auto c) { return std::fma(a, b, c); }, kFloatModes);
  add_both<3>(
      t, "mad", [](auto a, auto b, auto c) { return std::fma(a, b, c); }, kFloatModes);
  add_both<1>(
      t, "rcp", [](auto a) { return 1 / a; }, modes, modes);
  add_both<1>(
      t, "sqrt", [](auto a) { return std::sqrt(a); }, modes);
  add_both<1>(
      t, "rsqrt", [](auto a) { return static_cast<decltype(a)>(1.0 / std::sqrt(double{a})); }, approximate, kApprox);
  add_both<2>(
      t, "copysign", [](auto a, auto b) { return std::copysign(b, a); }, 0, 0);  // the sign of a, the value of b
  t.rows<1>(
      single, "ex2", [](float a) { return std::exp2(operand(a)); }, approximate);
  t.rows<1>(
      single, "lg2", [](float a) { return std::log2(operand(a)); }, approximate);
  t.rows<1>(
      single, "sin", [](float a) { return std::sin(operand(a)); }, approximate);
  t.rows<1>(
      single, "cos", [](float a) { return std::cos(operand(a)); }, approximate);
  t.rows<1>(
      single, "tanh", [](float a) { return std::tanh(a); }, kApprox);
}

// Rows of bf16, f16 and their pairs; of f32 and f64 too where the result is one of the operands.
template <int sources, class F>
void add_halves(Table& t, const std::string& name, F f, uint32_t modifiers = 0) {
  t.rows<sources>(Types<BF16, F16>{}, name, f, modifiers);
  t.rows<sources>(Types<Pair<BF16>, Pair<F16>>{}, name, OnPairs<F>{}, modifiers);
}
template <int sources, class F>
void add_selecting(Table& t, const std::string& name, F f) {
  t.rows<sources>(Types<float>{}, name, f, kFtz, true);
  t.rows<sources>(Types<double>{}, name, f);
  add_halves<sources>(t, name, f);
}
template <class T, class F>
T bitwise(T a, F f) {
  using Bits = std::conditional_t<is_half<T>, uint16_t, Slot<T>>;
  return std::bit_cast<T>(static_cast<Bits>(f(std::bit_cast<Bits>(a), Bits{1} << (8 * sizeof(T) - 1))));
}

// ---- cvt between all types: through f64, which holds every source, and rounded once.

template <class T>
constexpr bool is_real = is_half<T> || std::is_floating_point_v<T>;

template <class D>
D clamp_to(double v) {  // v is whole; NaN gives 0, or the bit pattern of 64 bits that the hardware gives
  using Limits = std::numeric_limits<D>;
  if (v != v) return sizeof(D) == 8 ? static_cast<D>(uint64_t{1} << 63) : D{0};
  if (v <= static_cast<double>(Limits::min())) return Limits::min();
  return v >= static_cast<double>(Limits::max()) ? Limits::max() : static_cast<D>(v);
}

// Of 64-bit integers only the bits that can matter to a half are kept, and whether there were others.
template <class S>
double sticky(S v) {
  if constexpr (sizeof(S) == 8) {
    const bool fits = v < (S{1} << 52) && (std::is_unsigned_v<S> || v > -(S{1} << 52));
    if (!fits) return static_cast<double>(static_cast<S>((v & ~S{0xfff}) | (v & 0xfff ? 0x1000 : 0)));
  }
  return static_cast<double>(v);
}

template <class D, class S, bool whole>
D convert(S s) {
  if constexpr (!is_real<S> && is_half<D>)
    return narrow<D>(sticky(s));
  else if constexpr (whole && is_half<D>)
    return narrow<D>(std::nearbyint(double{widen(s)}));
  else if constexpr (whole && is_real<D>)
    return std::nearbyint(s);
  else if constexpr (is_real<S> && !is_real<D>)
    return clamp_to<D>(std::nearbyint(double{value(s)}));
  else if constexpr (is_half<D>)
    return narrow<D>(double{value(s)});
  else
    return static_cast<D>(value(s));
}

template <class D, class S>
void add_conversion(Table& t) {
  const std::string types = name_of<D>() + '.' + name_of<S>();
  constexpr bool single = std::is_same_v<D, float> || std::is_same_v<S, float>, half = is_half<D> || is_half<S>,
                 same = std::is_same_v<D, S>;
  constexpr uint32_t modes = kSat | (single && !half ? uint32_t{kFtz} : 0);
  const auto plain = [](S s) { return convert<D, S, false>(s); };
  if constexpr (!is_real<S> && !is_real<D>) {
    using Limits = std::numeric_limits<D>;
    t.row<D, S>("cvt." + types, plain);
    t.row<D, S>("cvt.sat." + types, [](S s) {
      return std::cmp_less(s, Limits::min())      ? Limits::min()
             : std::cmp_greater(s, Limits::max()) ? Limits::max()
                                                  : static_cast<D>(s);
    });
  } else if constexpr (is_real<D>) {
    t.row<D, S>("cvt." + types, plain, modes | kNearest | kRounding, single && same);
  }
  if constexpr (is_real<S> && (!is_real<D> || same))
    t.row<D, S>(
        "cvt.ri." + types, [](S s) { return convert<D, S, true>(s); }, modes);
}
template <class... T>
struct All {
  template <class D>
  static void add_destination(Table& t) {
    (add_conversion<D, T>(t), ...);
  }
  static void add(Table& t) { (add_destination<T>(t), ...); }
};

// From f32, the frequent one: to the nearest without a branch, or in the mode of the moment; single, and two to a pair,
// of which the first goes to the upper half.
BF16 nearest(BF16, float v) {
  const uint32_t u = std::bit_cast<uint32_t>(v);
  return {static_cast<uint16_t>(v != v ? 0x7fffu : (u + 0x7fff + (u >> 16 & 1)) >> 16)};
}
F16 nearest(F16, float v) { return {v != v ? uint16_t{0x7fff} : std::bit_cast<uint16_t>(static_cast<_Float16>(v))}; }
template <class H, class F>
void add_from_float(Table& t, const std::string& name, const std::string& suffix, F, uint32_t modifiers) {
  t.row<H, float>(name + name_of<H>() + ".f32" + suffix, F{}, modifiers);
  t.row<Pair<H>, float, float>(
      name + name_of<H>() + "x2.f32" + suffix,
      [](float a, float b) {
        return Pair<H>{F()(b), F()(a)};
      },
      modifiers);
}
template <class H>
void add_from_float(Table& t) {
  using Relu = decltype([](H h) {
    return (h.bits & 0x8000) && (h.bits & 0x7fff) <= (std::is_same_v<H, BF16> ? 0x7f80 : 0x7c00) ? H{0} : h;
  });
  add_from_float<H>(
      t, "cvt.", "", [](float v) { return nearest(H{}, v); }, kNearest);
  add_from_float<H>(
      t, "cvt.", "/r", [](float v) { return narrow<H>(v); }, kRounding);
  add_from_float<H>(
      t, "cvt.relu.", "", [](float v) { return Relu()(nearest(H{}, v)); }, kNearest);
  add_from_float<H>(
      t, "cvt.relu.", "/r", [](float v) { return Relu()(narrow<H>(v)); }, kRounding);
}

}  // namespace

void add_real_rows(Table& t) {
  add_single_rows(t);
  add_selecting<2>(t, "min", [](auto a, auto b) { return extreme<false, false>(a, b); });
  add_selecting<2>(t, "max", [](auto a, auto b) { return extreme<true, false>(a, b); });
  add_selecting<2>(t, "min.NaN", [](auto a, auto b) { return extreme<false, true>(a, b); });
  add_selecting<2>(t, "max.NaN", [](auto a, auto b) { return extreme<true, true>(a, b); });
  add_selecting<1>(t, "neg", [](auto a) { return bitwise(a, [](auto b, auto sign) { return b ^ sign; }); });
  add_selecting<1>(t, "abs", [](auto a) { return bitwise(a, [](auto b, auto sign) { return b & ~sign; }); });
  add_halves<2>(t, "add", HalfAdd{}, kNearest);
  add_halves<2>(
      t, "sub", [](auto a, auto b) { return narrow<decltype(a)>(double{widen(a)} - widen(b)); }, kNearest);
  add_halves<2>(
      t, "mul", [](auto a, auto b) { return narrow<decltype(a)>(double{widen(a)} * widen(b)); }, kNearest);
  add_halves<3>(
      t, "fma", [](auto a, auto b, auto c) { return fused<false>(a, b, c); }, kNearest);
  add_halves<3>(
      t, "fma.relu", [](auto a, auto b, auto c) { return fused<true>(a, b, c); }, kNearest);
  add_halves<1>(
      t, "tanh", [](auto a) { return narrow<decltype(a)>(std::tanh(double{widen(a)})); }, kApprox);
  add_halves<1>(
      t, "ex2",
      [](auto a) {  // of bf16 with .ftz, which PTX asks for there
        const auto r = narrow<decltype(a)>(std::exp2(double{widen(a)}));
        return std::is_same_v<decltype(a), BF16> && !(r.bits & 0x7f80) ? decltype(a){0} : r;
      },
      kApprox | kFtz);
}

void add_conversion_rows(Table& t) {
  All<int8_t, uint8_t, int16_t, uint16_t, int32_t, uint32_t, int64_t, uint64_t, BF16, F16, float, double>::add(t);
  add_from_float<BF16>(t);
  add_from_float<F16>(t);
}

}  // namespace switchyard::simgpu
