// What each row of the engine's table of instructions gives, by arithmetic of the host: integers in 128 bits, f32 and
// f64 under fesetround, bf16 and f16 by searching among all values.
#pragma once

#include <algorithm>
#include <bit>
#include <cfenv>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

namespace simgpu_test {

__extension__ using Wide = __int128;

struct Kind {  // of a value: letter of control.h, bits, and for halves whether it is bf16
  char letter = 'u';
  int bits = 32;
  bool brain = false;
  bool real() const { return letter == 'f' || letter == 'h'; }
};

struct Mode {
  int rounding = FE_TONEAREST;
  bool ftz = false, sat = false;
};

inline uint64_t mask(int bits) { return bits == 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1; }
inline Wide integer(uint64_t bits, Kind k) {  // its value
  bits &= mask(k.bits);
  return k.letter == 's' && (bits >> (k.bits - 1) & 1) ? static_cast<Wide>(bits) - (static_cast<Wide>(1) << k.bits)
                                                       : static_cast<Wide>(bits);
}

// ---- bf16 and f16: the value of each bit pattern, from the definition of the formats.

inline long double half_value(uint64_t bits, bool brain) {
  const int mantissa = brain ? 7 : 10, exponent_bits = brain ? 8 : 5, bias = brain ? 127 : 15;
  const auto exponent = static_cast<int>(bits >> mantissa & mask(exponent_bits));
  const auto fraction = static_cast<long double>(bits & mask(mantissa));
  const long double sign = bits >> 15 & 1 ? -1 : 1;
  if (exponent == (1 << exponent_bits) - 1) return fraction != 0 ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(fraction, 1 - bias - mantissa);
  return sign * std::ldexp(1 + std::ldexp(fraction, -mantissa), exponent - bias);
}

inline uint64_t round_to_half(long double v, bool brain, int rounding) {
  if (std::isnan(v)) return 0x7fff;
  const uint64_t sign = std::signbit(v) ? 0x8000 : 0, infinity = brain ? 0x7f80 : 0x7c00;
  const long double size = std::fabs(v);
  uint64_t low = 0, high = infinity;  // the neighbours: value(low) <= size < value(high)
  if (size == INFINITY) return sign | infinity;
  while (high - low > 1) {
    const uint64_t middle = (low + high) / 2;
    (middle < infinity && half_value(middle, brain) <= size ? low : high) = middle;
  }
  const long double below = half_value(low, brain);
  if (size == below) return sign | low;
  // Beyond the largest finite value the next would be one more place of the last.
  const long double above = high < infinity ? half_value(high, brain) : below + (below - half_value(low - 1, brain));
  const bool up = rounding == FE_TONEAREST
                      ? size - below > above - size || (size - below == above - size && (high & 1) == 0)
                      : (rounding == FE_UPWARD && !sign) || (rounding == FE_DOWNWARD && sign);
  return sign | (up ? high : low);
}

// ---- any real value

inline long double real(uint64_t bits, Kind k) {
  if (k.letter == 'h') return half_value(bits & 0xffff, k.brain);
  return k.bits == 32 ? static_cast<long double>(std::bit_cast<float>(static_cast<uint32_t>(bits)))
                      : std::bit_cast<double>(bits);
}
inline bool is_nan(uint64_t bits, Kind k) { return k.real() && std::isnan(real(bits, k)); }
inline uint64_t flush(uint64_t bits, Kind k) {  // f32 only
  const bool small = (bits & 0x7f800000) == 0;
  return k.letter == 'f' && k.bits == 32 && small ? bits & 0x80000000 : bits;
}

template <class T>
uint64_t bits_of(T v) {
  if constexpr (sizeof(T) == 4)
    return std::bit_cast<uint32_t>(v);
  else
    return std::bit_cast<uint64_t>(v);
}

// f(a, b, c) of f32 or f64, under the rounding mode.
template <class T>
uint64_t arithmetic(const std::string& op, const std::vector<uint64_t>& in, int rounding) {
  auto value = [&](size_t k) {
    return k < in.size() ? std::bit_cast<T>(static_cast<std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>>(in[k]))
                         : T{0};
  };
  volatile T a = value(0), b = value(1), c = value(2), r = 0;
  std::fesetround(rounding);
  if (op == "add")
    r = a + b;
  else if (op == "sub")
    r = a - b;
  else if (op == "mul")
    r = a * b;
  else if (op == "div")
    r = a / b;
  else if (op == "fma" || op == "mad")
    r = std::fma(a, b, c);
  else if (op == "rcp")
    r = T{1} / a;
  else if (op == "sqrt")
    r = std::sqrt(static_cast<T>(a));
  std::fesetround(FE_TONEAREST);
  return bits_of(static_cast<T>(r));
}

inline uint64_t extreme(const std::vector<uint64_t>& in, Kind k, bool largest) {
  const bool a = is_nan(in[0], k), b = is_nan(in[1], k);
  if (a || b) return a ? in[1] : in[0];
  const long double x = real(in[0], k), y = real(in[1], k);
  const bool first = x == y ? std::signbit(x) != largest : (x > y) == largest;
  return first ? in[0] : in[1];
}

inline uint64_t from_real(long double v, Kind k, int rounding) {  // v is exact
  if (k.letter == 'h') return round_to_half(v, k.brain, rounding);
  std::fesetround(rounding);
  volatile long double from = v;
  volatile float single = static_cast<float>(from);
  volatile double twice = static_cast<double>(from);
  std::fesetround(FE_TONEAREST);
  return k.bits == 32 ? bits_of(static_cast<float>(single)) : bits_of(static_cast<double>(twice));
}

struct Row {
  std::string key, modifiers;
  Kind destination;
  std::vector<Kind> sources;
  std::vector<std::string> words;
  bool has(const std::string& w) const { return std::find(words.begin(), words.end(), w) != words.end(); }
};

inline uint64_t conversion(const Row& row, const std::vector<uint64_t>& in, Mode m) {
  const Kind d = row.destination, s = row.sources[0];
  const int rounding = row.has("rzi")   ? FE_TOWARDZERO
                       : row.has("rmi") ? FE_DOWNWARD
                       : row.has("rpi") ? FE_UPWARD
                                        : FE_TONEAREST;
  const bool whole = row.has("rni") || row.has("rzi") || row.has("rmi") || row.has("rpi");
  const Wide low = d.letter == 's' ? -(static_cast<Wide>(1) << (d.bits - 1)) : 0;
  const Wide high = (static_cast<Wide>(1) << (d.letter == 's' ? d.bits - 1 : d.bits)) - 1;
  if (!s.real() && !d.real()) {
    const Wide v = integer(in[0], s);
    return static_cast<uint64_t>(row.has("sat") ? std::clamp(v, low, high) : v);
  }
  if (!s.real()) return from_real(static_cast<long double>(integer(in[0], s)), d, m.rounding);  // 64 bits of precision
  long double v = real(in[0], s);
  if (whole) {
    std::fesetround(rounding);
    v = std::nearbyint(v);
    std::fesetround(FE_TONEAREST);
  }
  if (d.real()) return std::isnan(v) ? from_real(NAN, d, FE_TONEAREST) : from_real(v, d, m.rounding);
  if (std::isnan(v)) return d.bits == 64 ? uint64_t{1} << 63 : 0;
  return static_cast<uint64_t>(v <= static_cast<long double>(low)    ? low
                               : v >= static_cast<long double>(high) ? high
                                                                     : static_cast<Wide>(v));
}

inline uint64_t real_arithmetic(const std::string& op, const Row& row, const std::vector<uint64_t>& in, Mode m) {
  const Kind k = row.destination;
  if (op == "min" || op == "max") return extreme(in, k, op == "max");
  const uint64_t sign = uint64_t{1} << (k.bits - 1);
  if (op == "neg") return in[0] ^ sign;
  if (op == "abs") return in[0] & ~sign;
  if (op == "copysign") return (in[0] & sign) | (in[1] & ~sign);
  if (op == "ex2") return from_real(std::exp2(real(in[0], k)), k, FE_TONEAREST);
  return k.bits == 32 ? arithmetic<float>(op, in, m.rounding) : arithmetic<double>(op, in, m.rounding);
}

inline uint64_t integer_arithmetic(const std::string& op, const Row& row, const std::vector<uint64_t>& in) {
  const Kind k = row.sources[0];
  const Wide a = integer(in[0], k), b = in.size() > 1 ? integer(in[1], k) : 0;
  const Wide c = in.size() > 2 ? integer(in[2], row.sources[2]) : 0;
  const auto n = static_cast<uint32_t>(in.back()), bits = static_cast<uint32_t>(k.bits);
  Wide r = 0;
  if (op == "add")
    r = a + b;
  else if (op == "sub")
    r = a - b;
  else if (op == "mul" || op == "mad")
    r = a * b + (op == "mad" ? c : 0);
  else if (op == "div")
    r = b == 0 ? -1 : a / b;
  else if (op == "rem")
    r = b == 0 ? a : a % b;
  else if (op == "min")
    r = std::min(a, b);
  else if (op == "max")
    r = std::max(a, b);
  else if (op == "neg")
    r = -a;
  else if (op == "abs")
    r = a < 0 ? -a : a;
  else if (op == "and")
    r = a & b;
  else if (op == "or")
    r = a | b;
  else if (op == "xor")
    r = a ^ b;
  else if (op == "not")
    r = ~a;
  else if (op == "popc")
    r = std::popcount(in[0] & mask(k.bits));
  else if (op == "shl")
    r = n >= bits ? 0 : a << n;
  else
    r = a >> std::min(n, bits);  // shr
  return static_cast<uint64_t>(r);
}

// In the terms of PTX. `in` are raw bits.
inline uint64_t reference(const Row& row, std::vector<uint64_t> in, Mode m) {
  const std::string& op = row.words[0];
  if (m.ftz) {
    for (size_t k = 0; k < in.size(); ++k) in[k] = flush(in[k], row.sources[k]);
  }
  uint64_t r = 0;
  if (row.has("pred") && op != "mov") {
    r = op == "and" ? in[0] & in[1] : op == "or" ? in[0] | in[1] : op == "xor" ? in[0] ^ in[1] : !in[0];
  } else if (op == "mov") {
    r = in[0];
  } else if (op == "selp") {
    r = in[2] & 1 ? in[0] : in[1];
  } else if (op == "cvt") {
    r = conversion(row, in, m);
  } else if (row.destination.real()) {
    r = real_arithmetic(op, row, in, m);
  } else {
    r = integer_arithmetic(op, row, in);
  }
  if (m.ftz) r = flush(r, row.destination);
  if (m.sat && row.destination.real()) {
    const long double v = real(r, row.destination);
    r = from_real(v > 0 ? std::min(v, 1.0L) : 0, row.destination, FE_TONEAREST);
  }
  return r & mask(row.destination.bits);
}

}  // namespace simgpu_test
