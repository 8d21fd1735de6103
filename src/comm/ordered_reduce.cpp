// Blocks of a few thousand elements are kept in an accumulator that stays in the first-level cache: every source is
// read once and the result is written once.
#include "comm/ordered_reduce.h"

#include "switchyard/base/threads.h"

#include <algorithm>
#include <array>

namespace switchyard::comm {
namespace {

constexpr int64_t kBlock = 2048;
constexpr int64_t kGrain = 1 << 16;

template <class T>
struct Sum {
  using type = T;
};
template <>
struct Sum<bf16> {
  using type = float;
};
template <>
struct Sum<f16> {
  using type = float;
};

template <Reduce how, class A>
A combine(A a, A b) {
  if constexpr (how == Reduce::sum) return static_cast<A>(a + b);
  // A NaN stays a NaN whichever side it is on.
  if constexpr (how == Reduce::max) return a != a || a > b ? a : b;
  return a != a || a < b ? a : b;
}

template <Reduce how, class T>
void reduce_block(std::span<const void* const> sources, void* out, int64_t begin, int64_t count) {
  using A = typename Sum<T>::type;
  std::array<A, kBlock> sum;
  const T* first = static_cast<const T*>(sources[0]) + begin;
  for (int64_t i = 0; i < count; ++i) sum[static_cast<size_t>(i)] = static_cast<A>(first[i]);
  for (const void* source : sources.subspan(1)) {
    const T* x = static_cast<const T*>(source) + begin;
    for (int64_t i = 0; i < count; ++i) {
      A& s = sum[static_cast<size_t>(i)];
      s = combine<how>(s, static_cast<A>(x[i]));
    }
  }
  T* y = static_cast<T*>(out) + begin;
  for (int64_t i = 0; i < count; ++i) y[i] = static_cast<T>(sum[static_cast<size_t>(i)]);
}

template <Reduce how, class T>
void reduce_typed(std::span<const void* const> sources, void* out, int64_t count) {
  parallel_ranges(count, kGrain, [&](int64_t begin, int64_t end, int) {
    for (; begin < end; begin += kBlock) reduce_block<how, T>(sources, out, begin, std::min(kBlock, end - begin));
  });
}

template <Reduce how>
void reduce_as(std::span<const void* const> sources, void* out, int64_t count, DType dtype) {
  switch (dtype) {
    case DType::f64: return reduce_typed<how, double>(sources, out, count);
    case DType::f32: return reduce_typed<how, float>(sources, out, count);
    case DType::bf16: return reduce_typed<how, bf16>(sources, out, count);
    case DType::i64: return reduce_typed<how, int64_t>(sources, out, count);
    case DType::i32: return reduce_typed<how, int32_t>(sources, out, count);
    case DType::u8: return reduce_typed<how, uint8_t>(sources, out, count);
    case DType::f16: return reduce_typed<how, f16>(sources, out, count);
  }
}

}  // namespace

void reduce_in_order(std::span<const void* const> sources, void* out, int64_t count, DType dtype, Reduce how) {
  switch (how) {
    case Reduce::sum: return reduce_as<Reduce::sum>(sources, out, count, dtype);
    case Reduce::max: return reduce_as<Reduce::max>(sources, out, count, dtype);
    case Reduce::min: return reduce_as<Reduce::min>(sources, out, count, dtype);
  }
}

}  // namespace switchyard::comm
