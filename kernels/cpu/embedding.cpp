// Backward sorts the tokens by id (a stable counting sort), so each row of dw is written by one thread, which adds that
// id's tokens in order. Traffic: dy is read once; dw is written once when assigned, else only rows with tokens move.
#include "kernels/embedding.h"

#include "kernels/cpu/vecmath.h"
#include "switchyard/base/threads.h"

#include <algorithm>
#include <cstring>

namespace switchyard::kernels {
namespace {

constexpr int64_t kGrain = 1 << 15;  // bytes a thread should have at least
constexpr int64_t kIdsPerItem = 16;  // rows of dw handed out at once: common ids are spread over threads

// Tokens of id v are order[first[v]] .. order[first[v + 1] - 1], in token order.
struct Sorted {
  int32_t* first;  // (V + 2): one entry more is needed while sorting
  int32_t* order;  // (T)
};

Sorted sort_by_id(const EmbeddingBackwardArgs& a) {
  auto* first = static_cast<int32_t*>(a.scratch);
  int32_t* order = first + a.V + 2;
  std::fill(first, first + a.V + 2, 0);
  const auto row = [&](int64_t t) { return a.ids[t] - a.first; };
  const auto is_here = [&](int64_t t) { return row(t) >= 0 && row(t) < a.V; };
  for (int64_t t = 0; t < a.T; ++t)
    if (is_here(t)) ++first[row(t) + 2];
  for (int64_t v = 2; v < a.V + 2; ++v) first[v] += first[v - 1];
  for (int64_t t = 0; t < a.T; ++t)
    if (is_here(t)) order[first[row(t) + 1]++] = static_cast<int32_t>(t);
  return {first, order};
}

template <class T>
void backward(const EmbeddingBackwardArgs& a) {
  using A = accumulate_t<T>;
  const Sorted sorted = sort_by_id(a);
  parallel_items((a.V + kIdsPerItem - 1) / kIdsPerItem, [&](int64_t item) {
    const int64_t end = std::min(a.V, (item + 1) * kIdsPerItem);
    for (int64_t v = item * kIdsPerItem; v < end; ++v) {
      A* row = static_cast<A*>(a.dw) + v * a.D;
      int32_t i = sorted.first[v];
      const int32_t stop = sorted.first[v + 1];
      if (!a.accumulate) {
        if (i == stop)
          std::fill(row, row + a.D, A{0});
        else
          load_row(static_cast<const T*>(a.dy) + sorted.order[i++] * a.D, row, a.D);
      }
      for (; i < stop; ++i) {
        const T* dy = static_cast<const T*>(a.dy) + sorted.order[i] * a.D;
#pragma omp simd
        for (int64_t d = 0; d < a.D; ++d) row[d] += widen(dy[d]);
      }
    }
  });
}

}  // namespace

void embedding(exec::Cpu, const EmbeddingArgs& args) {
  const int64_t row_bytes = args.D * size_of(args.dtype);
  const auto* w = static_cast<const std::byte*>(args.w);
  auto* y = static_cast<std::byte*>(args.y);
  parallel_for(args.T, kGrain / std::max<int64_t>(row_bytes, 1), [&](int64_t t) {
    const int64_t row = args.ids[t] - args.first;
    if (row >= 0 && row < args.V)
      std::memcpy(y + t * row_bytes, w + row * row_bytes, static_cast<size_t>(row_bytes));
    else
      std::memset(y + t * row_bytes, 0, static_cast<size_t>(row_bytes));
  });
}

int64_t embedding_backward_scratch_bytes(exec::Cpu, const EmbeddingBackwardArgs& args) {
  return (args.V + 2 + args.T) * static_cast<int64_t>(sizeof(int32_t));
}

void embedding_backward(exec::Cpu, const EmbeddingBackwardArgs& args) {
  on_floating(args.dtype, [&](auto t) { backward<decltype(t)>(args); });
}

}  // namespace switchyard::kernels
