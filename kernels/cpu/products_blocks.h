// What the products share: pieces of work handed out to threads, conversion of operands, division of scratch memory.
#pragma once

#include "kernels/cpu/vecmath.h"
#include "kernels/products.h"
#include "switchyard/base/round_up.h"
#include "switchyard/base/threads.h"

#include <atomic>
#include <cstddef>
#include <cstring>

namespace switchyard::kernels {

constexpr int64_t aligned(int64_t bytes) { return round_up(bytes, 64); }

inline const std::byte* bytes_at(const void* base, int64_t elements, DType dtype) {
  return static_cast<const std::byte*>(base) + elements * size_of(dtype);
}
inline std::byte* bytes_at(void* base, int64_t elements, DType dtype) {
  return static_cast<std::byte*>(base) + elements * size_of(dtype);
}

// What operands of `dtype` are multiplied as: bf16 as f32 on a processor without bf16 instructions.
inline DType multiplied_as(DType dtype) { return dtype == DType::bf16 && !has_bf16_products() ? DType::f32 : dtype; }

// Rows of a group, of RowProductArgs and of WeightGradientArgs.
template <class Args>
int64_t rows_of(const Args& a, int64_t group) {
  return a.offsets[group + 1] - a.offsets[group];
}

constexpr int64_t kThreadWork = 1 << 18;  // multiplications that are worth a thread

// body(i, thread) for i in [0, n), one by one to the next free thread: for independent pieces of uneven cost, `work`
// multiplications in all.
template <class Body>
void hand_out(int64_t n, int64_t work, Body&& body) {
  std::atomic<int64_t> next{0};
  const int64_t threads = std::min<int64_t>({n, num_threads(), std::max<int64_t>(1, work / kThreadWork)});
  parallel_ranges(threads, 1, [&](int64_t, int64_t, int thread) {
    for (int64_t i = next.fetch_add(1, std::memory_order_relaxed); i < n;
         i = next.fetch_add(1, std::memory_order_relaxed))
      body(i, thread);
  });
}

// to[i] = from[i] for f32 and bf16.
inline void convert(const void* from, DType from_dtype, void* to, DType to_dtype, int64_t count) {
  if (from_dtype == to_dtype)
    std::memcpy(to, from, static_cast<size_t>(count * size_of(to_dtype)));
  else if (to_dtype == DType::f32)
    load_row(static_cast<const bf16*>(from), static_cast<float*>(to), count);
  else
    store_row(static_cast<const float*>(from), static_cast<bf16*>(to), count);
}

}  // namespace switchyard::kernels
