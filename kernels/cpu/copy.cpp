// Strided copy with conversion. Dimensions that are contiguous in both views are merged, so the common cases (whole
// tensor, slice of columns, swapped head and sequence) run as rows of contiguous elements. Traffic: read x, write y.
#include "kernels/copy.h"

#include "kernels/copy_dims.h"
#include "switchyard/base/threads.h"

#include <cstring>

namespace switchyard::kernels {
namespace {

constexpr int64_t kGrain = 1 << 15;  // elements a thread should have at least

template <class T>
constexpr bool is_16_bit = std::is_same_v<T, bf16> || std::is_same_v<T, f16>;

template <class To, class From>
To convert(From value) {
  if constexpr (std::is_same_v<To, From>)
    return value;
  else if constexpr (is_16_bit<To>)
    return To(static_cast<float>(value));
  else if constexpr (is_16_bit<From>)
    return static_cast<To>(static_cast<float>(value));
  else
    return static_cast<To>(value);
}

template <class From, class To>
void copy_run(const From* x, int64_t x_stride, To* y, int64_t y_stride, int64_t count) {
  if (x_stride == 1 && y_stride == 1) {
    if constexpr (std::is_same_v<From, To>)
      std::memcpy(y, x, static_cast<size_t>(count) * sizeof(To));
    else
      for (int64_t i = 0; i < count; ++i) y[i] = convert<To>(x[i]);
    return;
  }
  for (int64_t i = 0; i < count; ++i) y[i * y_stride] = convert<To>(x[i * x_stride]);
}

template <class From, class To>
void copy_typed(const CopyArgs& a) {
  std::vector<CopyDim> dims = merged_dims(a);
  const CopyDim inner = dims.back();
  dims.pop_back();
  const auto* x = static_cast<const From*>(a.x);
  auto* y = static_cast<To*>(a.y);
  if (dims.empty()) {
    parallel_ranges(inner.extent, kGrain, [&](int64_t begin, int64_t end, int) {
      copy_run(x + begin * inner.x_stride, inner.x_stride, y + begin * inner.y_stride, inner.y_stride, end - begin);
    });
    return;
  }
  int64_t outer = 1;
  for (const CopyDim& dim : dims) outer *= dim.extent;
  parallel_for(outer, std::max<int64_t>(1, kGrain / inner.extent), [&](int64_t i) {
    int64_t x_at = 0, y_at = 0;
    for (auto dim = dims.rbegin(); dim != dims.rend(); ++dim) {
      x_at += i % dim->extent * dim->x_stride;
      y_at += i % dim->extent * dim->y_stride;
      i /= dim->extent;
    }
    copy_run(x + x_at, inner.x_stride, y + y_at, inner.y_stride, inner.extent);
  });
}

template <class Body>
void on_any(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::f64: return body(double{});
    case DType::f32: return body(float{});
    case DType::bf16: return body(bf16{});
    case DType::i64: return body(int64_t{});
    case DType::i32: return body(int32_t{});
    case DType::u8: return body(uint8_t{});
    case DType::f16: return body(f16{});
  }
}

}  // namespace

void copy(exec::Cpu, const CopyArgs& args) {
  for (const int64_t extent : args.shape)
    if (extent == 0) return;
  on_any(args.x_dtype,
         [&](auto from) { on_any(args.y_dtype, [&](auto to) { copy_typed<decltype(from), decltype(to)>(args); }); });
}

void fill(exec::Cpu, void* y, int64_t count, DType dtype, double value) {
  on_any(dtype, [&](auto t) {
    using T = decltype(t);
    const T v = convert<T>(value);
    parallel_ranges(count, kGrain, [&](int64_t begin, int64_t end, int) {
      std::fill(static_cast<T*>(y) + begin, static_cast<T*>(y) + end, v);
    });
  });
}

}  // namespace switchyard::kernels
