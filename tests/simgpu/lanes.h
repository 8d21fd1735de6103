// Loops over the 32 lanes of a warp, which the compiler vectorises. All lanes are computed; only active ones are
// stored.
#pragma once

#include <bit>
#include <cmath>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#include "tests/simgpu/warp.h"

namespace switchyard::simgpu {

struct BF16 {
  uint16_t bits;
};
struct F16 {
  uint16_t bits;
};
template <class H>
struct Pair {  // two in 32 bits, the first in the lower half
  H low, high;
};
template <class T>
constexpr bool is_half = std::is_same_v<T, BF16> || std::is_same_v<T, F16>;

inline float widen(BF16 v) { return std::bit_cast<float>(uint32_t{v.bits} << 16); }
inline float widen(F16 v) { return static_cast<float>(std::bit_cast<_Float16>(v.bits)); }
template <class H>
H narrow(double v, int rounding = 0);  // 0 nearest even, 1 to zero, 2 down, 3 up; half.cpp

template <class T>
using Slot = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
template <class T>
T get(Slot<T> slot) {
  if constexpr (sizeof(T) >= 4) return std::bit_cast<T>(slot);
  if constexpr (sizeof(T) == 2) return std::bit_cast<T>(static_cast<uint16_t>(slot));
  if constexpr (sizeof(T) == 1) return static_cast<T>(slot);
}
template <class T>
Slot<T> put(T value) {
  if constexpr (std::is_integral_v<T> && sizeof(T) < 4)
    return static_cast<uint32_t>(int32_t{value});  // extended by its sign
  else if constexpr (sizeof(T) == 2)
    return std::bit_cast<uint16_t>(value);
  else
    return std::bit_cast<Slot<T>>(value);
}

template <class T>
Slot<T>* slots(Warp& w, Operand o) {
  return reinterpret_cast<Slot<T>*>((o.at >= 0 ? w.registers : w.constants_end) + o.at);
}
inline uint32_t& bits(Warp& w, Operand o) { return *slots<uint32_t>(w, o); }  // of a predicate
inline void set_bits(Warp& w, Operand o, uint32_t active, uint32_t value) {
  uint32_t& d = bits(w, o);
  d = (d & ~active) | (value & active);
}

template <class T, class F>
void store_lanes(Warp& w, Operand to, uint32_t active, F value_of) {
  Slot<T>* d = slots<T>(w, to);
  if (active == ~0u) {
    for (int l = 0; l < 32; ++l) d[l] = put<T>(value_of(l));
  } else {
    for (int l = 0; l < 32; ++l) {
      const Slot<T> r = put<T>(value_of(l));
      d[l] = (active >> l & 1) ? r : d[l];
    }
  }
}

template <class F>
void for_lanes(uint32_t active, F f) {
  for (; active; active &= active - 1) f(static_cast<uint32_t>(std::countr_zero(active)));
}

// d = F(sources...), each of its type.
template <class F, class D, class... S>
void apply(Warp& w, const Instruction& i, uint32_t active) {
  [&]<size_t... n>(std::index_sequence<n...>) {
    const std::tuple<const Slot<S>*...> from{slots<S>(w, i.source[n])...};
    store_lanes<D>(w, i.d, active, [&](int l) -> D { return F()(get<S>(std::get<n>(from)[l])...); });
  }
  (std::index_sequence_for<S...>());
}

inline BF16 narrow_nearest(BF16, float v) {
  const uint32_t u = std::bit_cast<uint32_t>(v);
  return {static_cast<uint16_t>(v != v ? 0x7fffu : (u + 0x7fff + (u >> 16 & 1)) >> 16)};
}
inline F16 narrow_nearest(F16, float v) {
  return {v != v ? uint16_t{0x7fff} : std::bit_cast<uint16_t>(static_cast<_Float16>(v))};
}

template <class F>
struct OnPairs {
  template <class H, class... More>
  Pair<H> operator()(Pair<H> a, More... more) const {
    return {F()(a.low, more.low...), F()(a.high, more.high...)};
  }
};
struct HalfAdd {  // exact in f64, rounded once
  template <class H>
  H operator()(H a, H b) const {
    return narrow<H>(double{widen(a)} + widen(b));
  }
};

}  // namespace switchyard::simgpu
