// One pass over memory: reads master, gradient and both moments, writes master, moments and the bf16 weight: 28 bytes
// an element in f32, 30 with bf16 weights.
#include "kernels/adamw.h"

#include "kernels/cpu/vecmath.h"
#include "switchyard/base/threads.h"

#include <algorithm>
#include <cmath>

namespace switchyard::kernels {
namespace {

constexpr int64_t kGrain = 1 << 14;
constexpr int64_t kChunk = 1 << 14;  // elements of a partial sum

template <class T, bool kHasWeights>
void update(const AdamWArgs& a, int64_t begin, int64_t end) {
  const T decay = T(1 - a.lr * a.weight_decay), one_beta1 = T(1 - a.beta1), beta2 = T(a.beta2),
          one_beta2 = T(1 - a.beta2);
  const T rate = T(a.lr / (1 - std::pow(a.beta1, static_cast<double>(a.t))));
  const T correction = T(1 / std::sqrt(1 - std::pow(a.beta2, static_cast<double>(a.t)))), eps = T(a.eps);
  const T scale = T(a.grad_scale);
  T* __restrict w = static_cast<T*>(a.master);
  const T* __restrict g = static_cast<const T*>(a.grad);
  T* __restrict m = static_cast<T*>(a.exp_avg);
  T* __restrict v = static_cast<T*>(a.exp_avg_sq);
  bf16* __restrict rounded = a.weights;
#pragma omp simd
  for (int64_t i = begin; i < end; ++i) {
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
double chunk_sum(const T* x, int64_t count) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return sum;
}

}  // namespace

void adamw(exec::Cpu, const AdamWArgs& a) {
  parallel_ranges(a.n, kGrain, [&](int64_t begin, int64_t end, int) {
    if (a.dtype == DType::f64)
      update<double, false>(a, begin, end);
    else if (a.weights)
      update<float, true>(a, begin, end);
    else
      update<float, false>(a, begin, end);
  });
}

int64_t sum_of_squares_scratch_count(exec::Cpu, int64_t n) { return (n + kChunk - 1) / kChunk; }

double sum_of_squares(exec::Cpu, const SumOfSquaresArgs& a) {
  const int64_t chunks = sum_of_squares_scratch_count(exec::Cpu{}, a.n);
  parallel_for(chunks, 4, [&](int64_t c) {
    const int64_t begin = c * kChunk, count = std::min(kChunk, a.n - begin);
    a.scratch[c] = a.dtype == DType::f64 ? chunk_sum(static_cast<const double*>(a.x) + begin, count)
                                         : chunk_sum(static_cast<const float*>(a.x) + begin, count);
  });
  double sum = 0;
  for (int64_t c = 0; c < chunks; ++c) sum += a.scratch[c];
  return sum;
}

}  // namespace switchyard::kernels
