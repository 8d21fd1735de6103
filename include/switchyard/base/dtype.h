// Element types.
#pragma once

#include "switchyard/base/half.h"

#include <cstdint>
#include <string_view>

namespace switchyard {

enum class DType : uint8_t { f64, f32, bf16, i64, i32, u8, f16 };

constexpr int64_t size_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
    case DType::i64: return 8;
    case DType::f32:
    case DType::i32: return 4;
    case DType::bf16:
    case DType::f16: return 2;
    case DType::u8: return 1;
  }
  return 0;
}

std::string_view name_of(DType dtype);         // "f32", ...
DType dtype_from_name(std::string_view name);  // throws Error(usage) on an unknown name

constexpr bool is_integer(DType dtype) { return dtype == DType::i64 || dtype == DType::i32 || dtype == DType::u8; }
// What is computed in; f16 is only read.
constexpr bool is_floating(DType dtype) { return dtype == DType::f64 || dtype == DType::f32 || dtype == DType::bf16; }

// Accumulation type of a floating dtype: f64 for f64, else f32.
constexpr DType accumulate_type(DType dtype) { return dtype == DType::f64 ? DType::f64 : DType::f32; }

template <class T>
struct DTypeOf;
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::f64;
};
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::f32;
};
template <>
struct DTypeOf<bf16> {
  static constexpr DType value = DType::bf16;
};
template <>
struct DTypeOf<f16> {
  static constexpr DType value = DType::f16;
};
template <>
struct DTypeOf<int64_t> {
  static constexpr DType value = DType::i64;
};
template <>
struct DTypeOf<int32_t> {
  static constexpr DType value = DType::i32;
};
template <>
struct DTypeOf<uint8_t> {
  static constexpr DType value = DType::u8;
};

[[noreturn]] void fail_not_floating(DType dtype);  // Error(internal)

// Calls `body` with a value of the C++ type of a floating dtype: on_floating(d, [&](auto t) { using T = decltype(t);
// ... }).
template <class Body>
void on_floating(DType dtype, Body&& body) {
  if (dtype == DType::f64)
    body(double{});
  else if (dtype == DType::f32)
    body(float{});
  else if (dtype == DType::bf16)
    body(bf16{});
  else
    fail_not_floating(dtype);
}

// The type sums are kept in.
template <class T>
struct Accumulate {
  using type = float;
};
template <>
struct Accumulate<double> {
  using type = double;
};
template <class T>
using accumulate_t = typename Accumulate<T>::type;

}  // namespace switchyard
