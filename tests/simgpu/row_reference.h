// What each row of the engine's table of instructions gives, by arithmetic of the host: integers in 128 bits, f32 and
// f64 under fesetround, bf16 and f16 by searching among all values.
#pragma once

#include <algorithm>
#include <bit>
#include <cfenv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace simgpu_test {

__extension__ using Wide = __int128;
__extension__ using UnsignedWide = unsigned __int128;

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

inline long double approximate(const std::string& op, long double a) {
  return op == "rsqrt" ? 1 / std::sqrt(a)
         : op == "ex2" ? std::exp2(a)
         : op == "lg2" ? std::log2(a)
         : op == "sin" ? std::sin(a)
         : op == "cos" ? std::cos(a)
                       : std::tanh(a);
}
inline bool is_approximate(const std::string& op) {
  return op == "rsqrt" || op == "ex2" || op == "lg2" || op == "sin" || op == "cos" || op == "tanh";
}

inline uint64_t extreme(const std::vector<uint64_t>& in, Kind k, bool largest, bool keep_nan) {
  const bool a = is_nan(in[0], k), b = is_nan(in[1], k);
  if (keep_nan && (a || b)) return a ? in[0] : in[1];
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
  bool rounded = false;  // only for roundings other than the nearest
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
  if (row.has("relu") && v <= 0) v = 0;  // -0 too
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
  if (op == "min" || op == "max") return extreme(in, k, op == "max", row.has("NaN"));
  const uint64_t sign = uint64_t{1} << (k.bits - 1);
  if (op == "neg") return in[0] ^ sign;
  if (op == "abs") return in[0] & ~sign;
  if (op == "copysign") return (in[0] & sign) | (in[1] & ~sign);
  if (is_approximate(op)) {
    const uint64_t r = from_real(approximate(op, real(in[0], k)), k, FE_TONEAREST);
    return k.brain && op == "ex2" && !(r & 0x7f80) ? 0 : r;
  }
  if (k.letter == 'f')
    return k.bits == 32 ? arithmetic<float>(op, in, m.rounding) : arithmetic<double>(op, in, m.rounding);
  const long double a = real(in[0], k), b = real(in[1], k);
  if (op == "fma") {  // a * b is exact in 64 bits; of the sum, what is lost decides ties
    const long double p = a * b, c = real(in[2], k), sum = p + c, back = sum - p,
                      lost = (p - (sum - back)) + (c - back);
    const long double exact =
        lost == 0 || std::isnan(lost) ? sum : std::nextafter(sum, lost > 0 ? INFINITY : -INFINITY);
    const long double between = lost == 0 || std::isnan(lost) ? sum : (sum + exact) / 2 == sum ? exact : sum;
    const uint64_t r = round_to_half(
        half_value(round_to_half(sum, k.brain, FE_TONEAREST), k.brain) == sum ? sum : between, k.brain, FE_TONEAREST);
    return row.has("relu") && (r >> 15) && !is_nan(r, k) ? 0 : r;
  }
  return round_to_half(op == "add" ? a + b : op == "sub" ? a - b : a * b, k.brain, FE_TONEAREST);
}

inline uint64_t field(uint64_t a, Kind k, uint32_t position, uint32_t length) {
  uint64_t out = 0;
  const int last = std::min<int>(static_cast<int>(position + length) - 1, k.bits - 1);
  for (int bit = 0; bit < k.bits; ++bit) {
    const int from = bit + static_cast<int>(position);
    const bool inside = bit < static_cast<int>(length) && from < k.bits;
    const bool value = inside ? a >> from & 1 : k.letter == 's' && length > 0 && (a >> last & 1);
    out |= static_cast<uint64_t>(value) << bit;
  }
  return out;
}

inline uint64_t bit_arithmetic(const std::string& op, const Row& row, const std::vector<uint64_t>& in) {
  const Kind k = row.sources[0];
  const uint64_t a = in[0] & mask(k.bits);
  if (op == "popc") return static_cast<uint64_t>(std::popcount(a));
  if (op == "clz") return static_cast<uint64_t>(std::countl_zero(a) - (64 - k.bits));
  if (op == "bfind") {
    const uint64_t u = integer(a, k) < 0 ? ~a & mask(k.bits) : a;
    if (u == 0) return 0xffffffff;
    const auto top = static_cast<uint64_t>(63 - std::countl_zero(u));
    return row.has("shiftamt") ? static_cast<uint64_t>(k.bits) - 1 - top : top;
  }
  if (op == "brev") {
    uint64_t r = 0;
    for (int b = 0; b < k.bits; ++b) r |= (a >> b & 1) << (k.bits - 1 - b);
    return r;
  }
  const auto byte = [&](size_t n) { return static_cast<uint32_t>(in[n] & 0xff); };
  if (op == "bfe") return field(a, k, byte(1), byte(2));
  if (op == "bfi") {
    uint64_t r = in[1];
    for (uint32_t b = 0; b < byte(3) && byte(2) + b < static_cast<uint32_t>(k.bits); ++b)
      r = (r & ~(uint64_t{1} << (byte(2) + b))) | (a >> b & 1) << (byte(2) + b);
    return r;
  }
  if (op == "bmsk") {
    const bool clamp = row.has("clamp");
    uint64_t r = 0, position = clamp ? in[0] & 0xffffffff : in[0] & 31,
             length = clamp ? in[1] & 0xffffffff : in[1] & 31;
    for (uint64_t b = position; b < 32 && b - position < length; ++b) r |= uint64_t{1} << b;
    return r;
  }
  const auto n = static_cast<uint32_t>(in.back());
  if (op == "shf") {
    const uint64_t both = (in[0] & 0xffffffff) | in[1] << 32;
    const uint32_t by = row.has("wrap") ? n & 31 : std::min(n, 32u);
    return row.has("r") ? by == 32 ? both >> 32 : both >> by : by == 32 ? both & 0xffffffff : both << by >> 32;
  }
  const auto bits = static_cast<uint32_t>(k.bits);
  if (op == "shl") return n >= bits ? 0 : a << n;
  if (op == "shr") return static_cast<uint64_t>(integer(a, k) >> std::min(n, bits));
  if (op == "prmt") {
    uint64_t r = 0;
    for (int b = 0; b < 4; ++b) {
      const auto s = static_cast<uint32_t>(in[2] >> (4 * b) & 15);
      const auto from = static_cast<uint8_t>((s & 4 ? in[1] : in[0]) >> (8 * (s & 3)));
      r |= uint64_t{s & 8 ? (from & 0x80 ? 0xffu : 0u) : from} << (8 * b);
    }
    return r;
  }
  uint64_t r = 0;  // lop3
  for (int b = 0; b < 32; ++b)
    r |= (in[3] >> ((in[0] >> b & 1) << 2 | (in[1] >> b & 1) << 1 | (in[2] >> b & 1)) & 1) << b;
  return r;
}

inline uint64_t integer_arithmetic(const std::string& op, const Row& row, const std::vector<uint64_t>& in) {
  const Kind k = row.sources[0];
  const Wide a = integer(in[0], k), b = in.size() > 1 ? integer(in[1], k) : 0;
  const Wide c = in.size() > 2 ? integer(in[2], row.sources[2]) : 0;
  const Wide low = std::numeric_limits<int32_t>::min(), high = std::numeric_limits<int32_t>::max();
  Wide r = 0;
  if (row.has("u16x2") || row.has("s16x2"))
    return ((in[0] + in[1]) & 0xffff) | (((in[0] >> 16) + (in[1] >> 16)) & 0xffff) << 16;
  if (op == "add")
    r = a + b;
  else if (op == "sub")
    r = a - b;
  else if (op == "mul" || op == "mad")
    r = row.has("hi")
            ? static_cast<Wide>(
                  k.letter == 's'
                      ? a * b >> k.bits
                      : static_cast<Wide>(static_cast<UnsignedWide>(a) * static_cast<UnsignedWide>(b) >> k.bits))
            : a * b;
  else if (op == "div")
    r = b == 0 ? -1 : a / b;
  else if (op == "rem")
    r = b == 0 ? a : a % b;
  else if (op == "min")
    r = std::min(a, b);
  else if (op == "max")
    r = std::max(a, b);
  else if (op == "sad")
    r = c + (a > b ? a - b : b - a);
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
  else if (op == "cnot")
    r = a == 0;
  else if (op == "dp4a") {
    r = static_cast<Wide>(in[2]);
    for (int n = 0; n < 4; ++n) {
      auto part = [&](uint64_t v, const std::string& type) { return integer(v >> 8 * n, {type[0], 8}); };
      r += part(in[0], row.words[1]) * part(in[1], row.words[2]);
    }
  } else {
    return bit_arithmetic(op, row, in);
  }
  if (op == "mad") r += c;
  if (row.has("sat")) r = std::clamp(r, low, high);
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
