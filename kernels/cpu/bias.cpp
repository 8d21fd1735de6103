// Both are one pass over the rows. The gradient sums chunks of rows, then the chunks in order; chunks depend on R
// alone, so the result does not depend on the number of threads.
#include "kernels/bias.h"

#include "kernels/cpu/vecmath.h"
#include "switchyard/base/threads.h"

#include <algorithm>

namespace switchyard::kernels {
namespace {

constexpr int64_t kGrain = 1 << 14;  // elements a thread should have at least
constexpr int64_t kMaxChunks = 64;
constexpr int64_t kChunkRows = 32;  // at least

int64_t num_chunks(int64_t R) { return std::clamp<int64_t>(R / kChunkRows, 1, kMaxChunks); }

template <class T>
void add_bias_as(const AddBiasArgs& a) {
  const T* b = static_cast<const T*>(a.b);
  parallel_for(a.R, std::max<int64_t>(1, kGrain / std::max<int64_t>(a.N, 1)), [&](int64_t r) {
    T* y = static_cast<T*>(a.y) + r * a.N;
#pragma omp simd
    for (int64_t n = 0; n < a.N; ++n) y[n] = narrow<T>(widen(y[n]) + widen(b[n]));
  });
}

template <class T, class A = accumulate_t<T>>
void bias_gradient_as(const BiasGradientArgs& a) {
  const int64_t chunks = num_chunks(a.R);
  A* parts = static_cast<A*>(a.scratch);
  parallel_for(chunks, std::max<int64_t>(1, kGrain * chunks / std::max<int64_t>(a.R * a.N, 1)), [&](int64_t c) {
    A* part = parts + c * a.N;
    std::fill_n(part, a.N, A(0));
    for (int64_t r = a.R * c / chunks; r < a.R * (c + 1) / chunks; ++r) {
      const T* dy = static_cast<const T*>(a.dy) + r * a.N;
#pragma omp simd
      for (int64_t n = 0; n < a.N; ++n) part[n] += widen(dy[n]);
    }
  });
  A* db = static_cast<A*>(a.db);
  for (int64_t c = 0; c < chunks; ++c)
    for (int64_t n = 0; n < a.N; ++n) db[n] = parts[c * a.N + n] + (c > 0 || a.accumulate ? db[n] : A(0));
}

}  // namespace

void add_bias(exec::Cpu, const AddBiasArgs& a) {
  on_floating(a.dtype, [&](auto t) { add_bias_as<decltype(t)>(a); });
}

int64_t bias_gradient_scratch_bytes(const BiasGradientArgs& a) {
  return num_chunks(a.R) * a.N * size_of(accumulate_type(a.dtype));
}

void bias_gradient(exec::Cpu, const BiasGradientArgs& a) {
  on_floating(a.dtype, [&](auto t) { bias_gradient_as<decltype(t)>(a); });
}

}  // namespace switchyard::kernels
