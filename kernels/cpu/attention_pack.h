// Operands of the tile products: heads copied out of strided tensors into scratch, converted to the type of the
// arithmetic and padded with zeros; and how scratch is divided.
#pragma once

#include "kernels/attention.h"
#include "kernels/cpu/attention_tiles.h"
#include "kernels/cpu/vecmath.h"
#include "switchyard/base/threads.h"

namespace switchyard::kernels::attention_detail {

// Hands out parts of a buffer, each on its own cache lines; with a null base it only counts.
class Carver {
 public:
  explicit Carver(void* base) : base_(static_cast<std::byte*>(base)) {}
  template <class A>
  A* take(int64_t count) {
    A* part = base_ ? reinterpret_cast<A*>(base_ + used_) : nullptr;
    used_ += round_up(count * static_cast<int64_t>(sizeof(A)), 64);
    return part;
  }
  int64_t used_bytes() const { return used_; }

 private:
  std::byte* base_;
  int64_t used_ = 0;
};

template <class T>
const T* row_of(const Heads& heads, int64_t b, int64_t position, int64_t head) {
  return static_cast<const T*>(heads.data) + b * heads.batch + position * heads.position + head * heads.head;
}

// to[i] = scale * heads[b, first + i, head], i < count; rows up to a multiple of kBlock are zero.
template <class T>
void pack_rows(const Heads& heads, int64_t b, int64_t head, int64_t first, int64_t count, int64_t width,
               accumulate_t<T> scale, accumulate_t<T>* to) {
  using A = accumulate_t<T>;
  const int64_t stride = row_stride<A>(width);
  for (int64_t i = 0; i < count; ++i, to += stride) {
    const T* from = row_of<T>(heads, b, first + i, head);
#pragma omp simd
    for (int64_t d = 0; d < width; ++d) to[d] = scale * widen(from[d]);
    std::fill(to + width, to + stride, A{});
  }
  std::fill(to, to + (round_up(count, kBlock) - count) * stride, A{});
}

// Panels of kColumns rows, transposed: to[panel][d][row] = heads[b, first + panel * kColumns + row, head][d].
template <class T>
void pack_columns(const Heads& heads, int64_t b, int64_t head, int64_t first, int64_t count, int64_t width,
                  accumulate_t<T>* to) {
  using A = accumulate_t<T>;
  constexpr int64_t kWide = kColumns<A>;
  for (int64_t i = 0; i < round_up(count, kBlock); ++i) {
    A* column = to + i / kWide * kWide * width + i % kWide;
    if (i >= count) {
      for (int64_t d = 0; d < width; ++d) column[d * kWide] = A{};
      continue;
    }
    const T* from = row_of<T>(heads, b, first + i, head);
    for (int64_t d = 0; d < width; ++d) column[d * kWide] = widen(from[d]);
  }
}

// body(item, worker) for every item; worker w does the items w, w + workers, ... with scratch of its own.
template <class Body>
void for_each_item(const AttentionArgs& a, int64_t items, Body&& body) {
  constexpr int64_t kWork = 1 << 18;  // products that are worth a thread
  const int64_t work = a.B * a.H * a.queries * a.keys * (a.D + a.V);
  const int64_t workers = std::min(std::clamp<int64_t>(work / kWork, 1, num_threads()), items);
  parallel_for(workers, 1, [&](int64_t worker) {
    for (int64_t item = worker; item < items; item += workers) body(item, worker);
  });
}

}  // namespace switchyard::kernels::attention_detail
