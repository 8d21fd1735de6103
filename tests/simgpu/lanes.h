// Loops over the 32 lanes of a warp, which the compiler vectorises. All lanes are computed; only active ones are
// stored.
#pragma once

#include <bit>
#include <cmath>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#include "tests/simgpu/ptx.h"
#include "tests/simgpu/warp.h"

namespace switchyard::simgpu {

// Values that C++ has no type for, by their bits.
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

inline float widen(BF16 v) { return std::bit_cast<float>(uint32_t{v.bits} << 16); }
inline float widen(F16 v) { return static_cast<float>(std::bit_cast<_Float16>(v.bits)); }
template <class H, class V>
H narrow(V v, int rounding = 0);  // half.cpp: rounds once, from float or double

template <class T>
using Slot = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;

template <class T>
T get(Slot<T> slot) {
  if constexpr (sizeof(T) >= 4) {
    return std::bit_cast<T>(slot);
  } else if constexpr (sizeof(T) == 2) {
    return std::bit_cast<T>(static_cast<uint16_t>(slot));
  } else {
    return static_cast<T>(slot);
  }
}
template <class T>
Slot<T> put(T value) {
  if constexpr (std::is_integral_v<T> && sizeof(T) < 4) {
    return static_cast<uint32_t>(static_cast<int32_t>(value));  // sign-extended if signed
  } else if constexpr (sizeof(T) == 2) {
    return std::bit_cast<uint16_t>(value);
  } else {
    return std::bit_cast<Slot<T>>(value);
  }
}

template <class T>
Slot<T>* slots(Warp& w, Operand o) {
  return reinterpret_cast<Slot<T>*>((o.at >= 0 ? w.registers : w.constants_end) + o.at);
}
inline uint32_t& bits(Warp& w, Operand o) { return *slots<uint32_t>(w, o); }
inline void set_bits(Warp& w, Operand o, uint32_t active, uint32_t value) {
  uint32_t& d = bits(w, o);
  d = (d & ~active) | (value & active);
}

template <class T, class F>
void store_lanes(Slot<T>* d, uint32_t active, F value_of) {
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
  for (; active; active &= active - 1) f(std::countr_zero(active));
}

// d = F(sources...), each of its type.
template <class F, class D, class... S>
void apply(Warp& w, const Instruction& i, uint32_t active) {
  [&]<size_t... n>(std::index_sequence<n...>) {
    const std::tuple<const Slot<S>*...> from{slots<S>(w, i.source[n])...};
    store_lanes<D>(slots<D>(w, i.d), active, [&](int l) { return F()(get<S>(std::get<n>(from)[l])...); });
  }
  (std::index_sequence_for<S...>());
}

}  // namespace switchyard::simgpu
