// One pass over memory: reads master, gradient and both moments, writes master, moments and the bf16 weight: 28 bytes
// an element in f32, 30 with bf16 weights.
#include "kernels/adamw.h"

#include "kernels/cpu/vecmath.h"
#include "switchyard/base/threads.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace switchyard::kernels {
namespace {

// Elements [begin, end) of a range.
template <class Range>
struct Chunk {
  const Range& range;
  int64_t begin, end;
};

// The last range whose chunks begin at or before this one: those without elements have the number of the next.
template <class Args>
auto chunk_of(const Args& a, int64_t chunk) {
  const auto* after = std::upper_bound(a.ranges, a.ranges + a.num_ranges, chunk,
                                       [](int64_t c, const auto& range) { return c < range.first_chunk; });
  const auto& range = after[-1];
  const int64_t begin = (chunk - range.first_chunk) * kRangeChunk;
  return Chunk<std::remove_cvref_t<decltype(range)>>{range, begin, std::min(range.n, begin + kRangeChunk)};
}

template <class T, bool kHasWeights>
void update(const AdamWArgs& a, Chunk<AdamWRange> chunk) {
  const AdamWRange& range = chunk.range;
  const T decay = T(1 - a.lr * range.weight_decay), one_beta1 = T(1 - a.beta1), beta2 = T(a.beta2),
          one_beta2 = T(1 - a.beta2);
  const T rate = T(a.lr / (1 - std::pow(a.beta1, static_cast<double>(a.t))));
  const T correction = T(1 / std::sqrt(1 - std::pow(a.beta2, static_cast<double>(a.t)))), eps = T(a.eps);
  const T scale = T(*a.grad_scale);
  T* __restrict w = static_cast<T*>(range.master);
  const T* __restrict g = static_cast<const T*>(range.grad);
  T* __restrict m = static_cast<T*>(range.exp_avg);
  T* __restrict v = static_cast<T*>(range.exp_avg_sq);
  bf16* __restrict rounded = range.weights;
#pragma omp simd
  for (int64_t i = chunk.begin; i < chunk.end; ++i) {
    const T gradient = g[i] * scale;
    const T m_new = m[i] + one_beta1 * (gradient - m[i]);
    const T v_new = beta2 * v[i] + one_beta2 * gradient * gradient;
    const T w_new = w[i] * decay - rate * m_new / (std::sqrt(v_new) * correction + eps);
    m[i] = m_new;
    v[i] = v_new;
    w[i] = w_new;
    if constexpr (kHasWeights) rounded[i] = narrow<bf16>(static_cast<float>(w_new));
  }
}

template <class T>
double chunk_sum(Chunk<SquaresRange> chunk) {
  const T* x = static_cast<const T*>(chunk.range.x);
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = chunk.begin; i < chunk.end; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return sum;
}

}  // namespace

void adamw(exec::Cpu, const AdamWArgs& a) {
  if (!std::isfinite(*a.grad_scale)) return;
  parallel_for(a.num_chunks, 1, [&](int64_t c) {
    const auto chunk = chunk_of(a, c);
    if (a.dtype == DType::f64)
      update<double, false>(a, chunk);
    else if (chunk.range.weights)
      update<float, true>(a, chunk);
    else
      update<float, false>(a, chunk);
  });
}

void sum_of_squares(exec::Cpu, const SumOfSquaresArgs& a) {
  parallel_for(a.num_chunks, 4, [&](int64_t c) {
    const auto chunk = chunk_of(a, c);
    a.chunks[c] = a.dtype == DType::f64 ? chunk_sum<double>(chunk) : chunk_sum<float>(chunk);
  });
  *a.sum = 0;
  for (int64_t r = 0; r < a.num_ranges; ++r) {
    const double* chunks = a.chunks + a.ranges[r].first_chunk;
    *a.sum += std::accumulate(chunks, chunks + chunks_of(a.ranges[r].n), 0.0);
  }
}

}  // namespace switchyard::kernels
