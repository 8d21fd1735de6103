// The 16-bit scalars. Both are storage formats: arithmetic happens in f32, and f16 stands in files only, from which
// copies convert it.
#pragma once

#include <bit>
#include <cstdint>

namespace switchyard {

// bfloat16: the upper half of an f32; conversion from f32 rounds to nearest, ties to even, and keeps NaN a NaN.
struct bf16 {
  uint16_t bits = 0;

  bf16() = default;
  explicit bf16(float value) {
    const uint32_t u = std::bit_cast<uint32_t>(value);
    const uint32_t rounded = u + 0x7fffu + ((u >> 16) & 1u);
    bits = static_cast<uint16_t>((u & 0x7fffffffu) > 0x7f800000u ? (u >> 16) | 0x40u : rounded >> 16);
  }
  explicit operator float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
};

// IEEE half precision; conversion from f32 rounds to nearest, ties to even.
struct f16 {
  uint16_t bits = 0;

  f16() = default;
  explicit f16(float value) : bits(std::bit_cast<uint16_t>(static_cast<_Float16>(value))) {}
  explicit operator float() const { return static_cast<float>(std::bit_cast<_Float16>(bits)); }
};

}  // namespace switchyard
