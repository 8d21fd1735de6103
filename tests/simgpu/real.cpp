// f32, f64, bf16 and f16 arithmetic. Rounding modes and .ftz of f32 and f64 come from MXCSR (decode.cpp); functions
// that the hardware approximates are computed with the host's libm, within 1 ulp. bf16 and f16 go through f64 and are
// rounded once.
#include <algorithm>

#include "tests/simgpu/decode.h"

namespace switchyard::simgpu {

template <class H>
H narrow(double v, int rounding) {
  constexpr bool brain = std::is_same_v<H, BF16>;
  constexpr int mantissa = brain ? 7 : 10, lowest = (brain ? -126 : -14) - mantissa;
  constexpr uint32_t infinity = brain ? 0x7f80 : 0x7c00;
  if (v != v) return {0x7fff};
  const uint32_t sign = std::signbit(v) ? 0x8000 : 0;
  if (std::isinf(v)) return {static_cast<uint16_t>(sign | infinity)};
  int exponent = 0;
  std::frexp(v, &exponent);
  const int unit = v == 0 ? lowest : std::max(exponent - 1 - mantissa, lowest);  // exponent of the last place
  const double scaled = std::ldexp(std::fabs(v), -unit), whole = std::floor(scaled), rest = scaled - whole;
  auto r = static_cast<uint64_t>(whole);
  const bool away = rounding == (sign ? 2 : 3);  // towards larger size
  if (rounding == 0 ? rest > 0.5 || (rest == 0.5 && (r & 1)) : away && rest > 0) ++r;
  const uint64_t bits = r + (static_cast<uint64_t>(unit - lowest) << mantissa);
  if (bits < infinity) return {static_cast<uint16_t>(sign | bits)};
  return {static_cast<uint16_t>(sign | (rounding == 0 || away ? infinity : infinity - 1))};
}
template BF16 narrow<BF16>(double, int);
template F16 narrow<F16>(double, int);

namespace {

template <class T>
auto value(T v) {
  if constexpr (is_half<T>)
    return widen(v);
  else
    return v;
}

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

void add_single_rows(Table& t) {
  constexpr Types<float, double> both;
  constexpr Types<float> single;
  constexpr uint32_t modes = kNearest | kRounding | kFtz | kApprox, approximate = kFtz | kApprox;
  t.rows<2>(
      both, "add", [](auto a, auto b) { return a + b; }, kFloatModes);
  t.rows<2>(
      both, "sub", [](auto a, auto b) { return a - b; }, kFloatModes);
  t.rows<2>(
      both, "mul", [](auto a, auto b) { return a * b; }, kFloatModes);
  t.rows<2>(
      both, "div", [](auto a, auto b) { return a / b; }, modes);
  t.rows<3>(
      both, "fma", [](auto a, auto b, auto c) { return std::fma(a, b, c); }, kFloatModes);
  t.rows<3>(
      both, "mad", [](auto a, auto b, auto c) { return std::fma(a, b, c); }, kFloatModes);
  t.rows<1>(
      both, "rcp", [](auto a) { return 1 / a; }, modes);
  t.rows<1>(
      both, "sqrt", [](auto a) { return std::sqrt(a); }, modes);
  t.rows<1>(
      both, "rsqrt", [](auto a) { return static_cast<decltype(a)>(1.0 / std::sqrt(double{a})); }, approximate);
  t.rows<2>(both, "copysign", [](auto a, auto b) { return std::copysign(b, a); });  // the sign of a, the value of b
  t.rows<1>(
      single, "ex2", [](float a) { return std::exp2(a); }, approximate);
  t.rows<1>(
      single, "lg2", [](float a) { return std::log2(a); }, approximate);
  t.rows<1>(
      single, "sin", [](float a) { return std::sin(a); }, approximate);
  t.rows<1>(
      single, "cos", [](float a) { return std::cos(a); }, approximate);
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

}  // namespace switchyard::simgpu
