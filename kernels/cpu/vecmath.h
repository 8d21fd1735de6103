// Elementary functions for loops under `omp simd`: branch-free f32 code that the compiler vectorises, with std:: for
// f64; and conversion of rows between a storage type and the type sums are kept in. Within 2 ulp (sigmoid 3) of exact,
// exact limits at 0 and +-inf, NaN in gives NaN out.
#pragma once

#include "switchyard/base/dtype.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace switchyard::kernels {

// exp(x) = 2^n exp(r) with n = round(x / ln 2) and |r| <= ln 2 / 2. The scale is applied in two halves, so that results
// may be denormal and overflow becomes infinity.
inline float vec_exp(float x) {
  constexpr float kRound = 0x1.8p23f;  // adding it leaves round(x) in the low mantissa bits
  x = x > 89.0f ? 89.0f : x;           // beyond: infinity all the same; written so that a NaN passes
  x = x < -104.0f ? -104.0f : x;       // beyond: zero all the same
  const float shifted = x * 0x1.715476p0f + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;  // ln 2 in two parts; the first product is exact
  float p = 1.3926213e-3f;                                      // (exp(r) - 1 - r) / r^2 at Chebyshev nodes
  p = p * r + 8.3632030e-3f;
  p = p * r + 4.1666554e-2f;
  p = p * r + 1.6666577e-1f;
  p = p * r + 0.5f;
  p = (p * r) * r + r + 1.0f;
  const auto exponent = static_cast<int32_t>(std::bit_cast<uint32_t>(shifted) - std::bit_cast<uint32_t>(kRound));
  const int32_t half = exponent >> 1;
  const float scale_a = std::bit_cast<float>(static_cast<uint32_t>(half + 127) << 23);
  const float scale_b =
      std::bit_cast<float>((static_cast<uint32_t>(exponent) - static_cast<uint32_t>(half) + 127) << 23);
  return p * scale_a * scale_b;
}
inline double vec_exp(double x) { return std::exp(x); }

// log(x) = e ln 2 + log(1 + f) with 1 + f in [sqrt(1/2), sqrt(2)) and log(1 + f) = f - s (f - R), s = f / (2 + f),
// where R = 2 (s^2/3 + s^4/5 + ...) from the series of the inverse hyperbolic tangent.
inline float vec_log(float x) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  const bool is_tiny = x < 0x1p-126f;
  const uint32_t bits = std::bit_cast<uint32_t>(is_tiny ? x * 0x1p23f : x);
  const uint32_t shifted = bits - 0x3f3504f3u;  // sqrt(1/2): the exponent field of the difference is e
  const float e = static_cast<float>(static_cast<int32_t>(shifted) >> 23) - (is_tiny ? 23.0f : 0.0f);
  const float f = std::bit_cast<float>((shifted & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
  const float s = f / (2.0f + f);
  const float z = s * s;
  const float R = z * (0.66666667f + z * (0.4f + z * (0.28571429f + z * 0.22222222f)));
  const float y = e * 0.693359375f + (f - (s * (f - R) + e * 2.12194440e-4f));
  const float at_edge = x == 0.0f ? -kInf : x == kInf ? kInf : std::numeric_limits<float>::quiet_NaN();
  return x > 0.0f && x < kInf ? y : at_edge;
}
inline double vec_log(double x) { return std::log(x); }

// tanh(x) = sign(x) (1 - 2 / (exp(2|x|) + 1)); near 0, where that cancels, an odd polynomial.
inline float vec_tanh(float x) {
  const float a = std::fabs(x);
  const float u = x * x;
  float p = 2.2917705e-3f;  // (tanh(x) - x) / x^3 in u = x^2 at Chebyshev nodes of [0, 0.625^2]
  p = p * u - 8.3430852e-3f;
  p = p * u + 2.1768656e-2f;
  p = p * u - 5.3959227e-2f;
  p = p * u + 1.3333303e-1f;
  p = p * u - 3.3333333e-1f;
  const float near_zero = a + a * u * p;
  const float far = 1.0f - 2.0f / (vec_exp(2.0f * a) + 1.0f);
  return std::copysign(a < 0.625f ? near_zero : far, x);
}
inline double vec_tanh(double x) { return std::tanh(x); }

// 1 / (1 + exp(-x)), from the exponential that does not overflow.
inline float vec_sigmoid(float x) {
  const float e = vec_exp(-std::fabs(x));
  return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}
inline double vec_sigmoid(double x) {
  const double e = std::exp(-std::fabs(x));
  return (x < 0.0 ? e : 1.0) / (1.0 + e);
}

// One element from its storage type to the type sums are kept in, and back.
inline double widen(double x) { return x; }
inline float widen(float x) { return x; }
inline float widen(bf16 x) { return static_cast<float>(x); }
template <class T>
inline T narrow(accumulate_t<T> x) {
  return T(x);
}

// y[i] = x[i], i < n, converted; the rows do not overlap.
template <class T>
inline void load_row(const T* x, accumulate_t<T>* y, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] = widen(x[i]);
}
template <class T>
inline void store_row(const accumulate_t<T>* x, T* y, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] = narrow<T>(x[i]);
}

}  // namespace switchyard::kernels
