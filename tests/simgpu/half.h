// bf16 and f16 from wider values, rounded once, in all rounding modes.
#pragma once

#include "tests/simgpu/lanes.h"

namespace switchyard::simgpu {

template <class H>
H narrow_any(double v, int rounding);  // 0 nearest even, 1 to zero, 2 down, 3 up

template <class H>
H narrow(double v, int rounding = 0) {
  return narrow_any<H>(v, rounding);
}

// The frequent case, without a branch.
inline BF16 narrow_nearest(BF16, float v) {
  const uint32_t u = std::bit_cast<uint32_t>(v);
  return {static_cast<uint16_t>(v != v ? 0x7fffu : (u + 0x7fff + (u >> 16 & 1)) >> 16)};
}
inline F16 narrow_nearest(F16, float v) {
  return {v != v ? uint16_t{0x7fff} : std::bit_cast<uint16_t>(static_cast<_Float16>(v))};
}

// Elementwise on pairs.
template <class F>
struct OnPairs {
  template <class H>
  Pair<H> operator()(Pair<H> a) const {
    return {F()(a.low), F()(a.high)};
  }
  template <class H>
  Pair<H> operator()(Pair<H> a, Pair<H> b) const {
    return {F()(a.low, b.low), F()(a.high, b.high)};
  }
  template <class H>
  Pair<H> operator()(Pair<H> a, Pair<H> b, Pair<H> c) const {
    return {F()(a.low, b.low, c.low), F()(a.high, b.high, c.high)};
  }
};
struct HalfAdd {  // exact in f64, rounded once
  template <class H>
  H operator()(H a, H b) const {
    return narrow<H>(static_cast<double>(widen(a)) + widen(b));
  }
};

}  // namespace switchyard::simgpu
