// Both are one pass over the rows.
#include "kernels/bias.h"

#include "kernels/cpu/column_sums.h"
#include "kernels/cpu/vecmath.h"

namespace switchyard::kernels {
namespace {

template <class T>
void add_bias_as(const AddBiasArgs& a) {
  const T* b = static_cast<const T*>(a.b);
  parallel_for(a.R, grain_rows(a.N), [&](int64_t r) {
    T* y = static_cast<T*>(a.y) + r * a.N;
#pragma omp simd
    for (int64_t n = 0; n < a.N; ++n) y[n] = narrow<T>(widen(y[n]) + widen(b[n]));
  });
}

template <class T, class A = accumulate_t<T>>
void bias_gradient_as(const BiasGradientArgs& a) {
  A* parts = static_cast<A*>(a.scratch);
  for_each_chunk(a.R, a.N, [&](int64_t c, int64_t begin, int64_t end) {
    A* part = parts + c * a.N;
    std::fill_n(part, a.N, A(0));
    for (int64_t r = begin; r < end; ++r) {
      const T* dy = static_cast<const T*>(a.dy) + r * a.N;
#pragma omp simd
      for (int64_t n = 0; n < a.N; ++n) part[n] += widen(dy[n]);
    }
  });
  add_chunks(parts, a.N, num_chunks(a.R), static_cast<A*>(a.db), a.N, a.accumulate);
}

}  // namespace

void add_bias(exec::Cpu, const AddBiasArgs& a) {
  on_floating(a.dtype, [&](auto t) { add_bias_as<decltype(t)>(a); });
}

int64_t bias_gradient_scratch_bytes(exec::Cpu, const BiasGradientArgs& a) {
  return num_chunks(a.R) * a.N * size_of(accumulate_type(a.dtype));
}

void bias_gradient(exec::Cpu, const BiasGradientArgs& a) {
  on_floating(a.dtype, [&](auto t) { bias_gradient_as<decltype(t)>(a); });
}

}  // namespace switchyard::kernels
