// bf16 and f16 arithmetic, single and in pairs.
#include "tests/simgpu/half.h"

#include "tests/simgpu/decode.h"

namespace switchyard::simgpu {

template <class H>
H narrow_any(double v, int rounding) {
  constexpr bool brain = std::is_same_v<H, BF16>;
  constexpr int mantissa = brain ? 7 : 10, lowest = (brain ? -126 : -14) - mantissa;
  constexpr uint32_t infinity = brain ? 0x7f80 : 0x7c00;
  if (v != v) return {0x7fff};
  const uint32_t sign = std::signbit(v) ? 0x8000 : 0;
  const double size = std::fabs(v);
  if (std::isinf(v)) return {static_cast<uint16_t>(sign | infinity)};
  int exponent = 0;
  std::frexp(size, &exponent);
  const int unit = std::max(exponent - 1 - mantissa, lowest);  // exponent of the last place
  const double scaled = std::ldexp(size, -unit), whole = std::floor(scaled), rest = scaled - whole;
  auto r = static_cast<uint64_t>(whole);
  const bool away = rounding == (sign ? 2 : 3);  // towards larger size
  if (rounding == 0 ? rest > 0.5 || (rest == 0.5 && (r & 1)) : away && rest > 0) ++r;
  const uint64_t bits = size == 0 ? 0 : r + (static_cast<uint64_t>(unit - lowest) << mantissa);
  if (bits < infinity) return {static_cast<uint16_t>(sign | bits)};
  return {static_cast<uint16_t>(sign | (rounding == 0 || away ? infinity : infinity - 1))};
}
template BF16 narrow_any<BF16>(double, int);
template F16 narrow_any<F16>(double, int);

namespace {

// a + b with the last bit set if it is not exact, so that rounding it again is rounding once.
double add_to_odd(double a, double b) {
  const double sum = a + b;
  const double back = sum - a, rest = (a - (sum - back)) + (b - back);
  auto bits = std::bit_cast<uint64_t>(sum);
  if (rest == 0 || rest != rest || (bits & 1)) return sum;
  return std::bit_cast<double>((rest > 0) == (sum > 0) ? bits + 1 : bits - 1);
}

struct Sub {
  template <class H>
  H operator()(H a, H b) const {
    return narrow<H>(static_cast<double>(widen(a)) - widen(b));
  }
};
struct Mul {
  template <class H>
  H operator()(H a, H b) const {
    return narrow<H>(static_cast<double>(widen(a)) * widen(b));
  }
};
template <bool relu>
struct Fma {
  template <class H>
  H operator()(H a, H b, H c) const {
    const H r = narrow<H>(add_to_odd(static_cast<double>(widen(a)) * widen(b), widen(c)));
    return relu && (r.bits & 0x8000) ? H{0} : r;
  }
};
template <bool largest, bool keep_nan>
struct Extreme {
  template <class H>
  H operator()(H a, H b) const {
    const float x = widen(a), y = widen(b);
    if (x != x && y != y) return {0x7fff};
    if (x != x) return keep_nan ? H{0x7fff} : b;
    if (y != y) return keep_nan ? H{0x7fff} : a;
    const bool first = largest ? x > y || (x == y && std::signbit(y)) : x < y || (x == y && std::signbit(x));
    return first ? a : b;
  }
};
struct Neg {
  template <class H>
  H operator()(H a) const {
    return {static_cast<uint16_t>(a.bits ^ 0x8000)};
  }
};
struct Abs {
  template <class H>
  H operator()(H a) const {
    return {static_cast<uint16_t>(a.bits & 0x7fff)};
  }
};
struct Exp2 {
  template <class H>
  H operator()(H a) const {
    return narrow<H>(std::exp2(static_cast<double>(widen(a))));
  }
};
struct Tanh {
  template <class H>
  H operator()(H a) const {
    return narrow<H>(std::tanh(static_cast<double>(widen(a))));
  }
};

template <class F>
void add_unary(Table& t, const std::string& name, uint32_t modifiers) {
  t.unary<F, BF16, F16>(name, modifiers);
  t.unary<OnPairs<F>, Pair<BF16>, Pair<F16>>(name, modifiers);
}
template <class F>
void add_binary(Table& t, const std::string& name, uint32_t modifiers) {
  t.binary<F, BF16, F16>(name, modifiers);
  t.binary<OnPairs<F>, Pair<BF16>, Pair<F16>>(name, modifiers);
}
template <class F>
void add_ternary(Table& t, const std::string& name) {
  t.ternary<F, BF16, F16>(name, kNearest);
  t.ternary<OnPairs<F>, Pair<BF16>, Pair<F16>>(name, kNearest);
}

}  // namespace

void add_half_rows(Table& t) {
  add_binary<HalfAdd>(t, "add", kNearest);
  add_binary<Sub>(t, "sub", kNearest);
  add_binary<Mul>(t, "mul", kNearest);
  add_ternary<Fma<false>>(t, "fma");
  add_ternary<Fma<true>>(t, "fma.relu");
  add_binary<Extreme<false, false>>(t, "min", 0);
  add_binary<Extreme<true, false>>(t, "max", 0);
  add_binary<Extreme<false, true>>(t, "min.NaN", 0);
  add_binary<Extreme<true, true>>(t, "max.NaN", 0);
  add_unary<Neg>(t, "neg", 0);
  add_unary<Abs>(t, "abs", 0);
  t.unary<Exp2, F16>("ex2", kApprox);
  t.unary<OnPairs<Exp2>, Pair<F16>>("ex2", kApprox);
  t.unary<Exp2, BF16>("ex2.ftz", kApprox);
  t.unary<OnPairs<Exp2>, Pair<BF16>>("ex2.ftz", kApprox);
  add_unary<Tanh>(t, "tanh", kApprox);
}

}  // namespace switchyard::simgpu
