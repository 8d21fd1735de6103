// A row is read from memory once: later passes over it find it in the first-level cache. Traffic: forward reads x and
// writes y; backward reads dy and x and writes dx.
#include "kernels/norm.h"

#include "kernels/cpu/column_sums.h"
#include "kernels/cpu/vecmath.h"

#include <algorithm>

namespace switchyard::kernels {
namespace {

template <class T, bool kCentred, class A = accumulate_t<T>>
A row_mean(const T* x, int64_t D) {
  if constexpr (!kCentred) return 0;
  A sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t d = 0; d < D; ++d) sum += widen(x[d]);
  return sum / static_cast<A>(D);
}

template <class T, class A = accumulate_t<T>>
A row_rstd(const T* x, A mean, int64_t D, double eps) {
  A sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t d = 0; d < D; ++d) sum += (widen(x[d]) - mean) * (widen(x[d]) - mean);
  return 1 / std::sqrt(sum / static_cast<A>(D) + static_cast<A>(eps));
}

template <class T, bool kCentred>
void forward(const NormArgs& a) {
  using A = accumulate_t<T>;
  const auto *w = static_cast<const T*>(a.w), *b = static_cast<const T*>(a.b);
  parallel_for(a.T, grain_rows(a.D), [&](int64_t t) {
    const T* x = static_cast<const T*>(a.x) + t * a.D;
    T* y = static_cast<T*>(a.y) + t * a.D;
    const A mean = row_mean<T, kCentred>(x, a.D);
    const A rstd = row_rstd(x, mean, a.D, a.eps);
    if constexpr (kCentred) {
      static_cast<A*>(a.mean)[t] = mean;
#pragma omp simd
      for (int64_t d = 0; d < a.D; ++d) y[d] = narrow<T>((widen(x[d]) - mean) * rstd * widen(w[d]) + widen(b[d]));
    } else {
#pragma omp simd
      for (int64_t d = 0; d < a.D; ++d) y[d] = narrow<T>(widen(x[d]) * rstd * widen(w[d]));
    }
    static_cast<A*>(a.rstd)[t] = rstd;
  });
}

// With g = dy * w and n = (x - mean) * rstd:  dx = rstd * (g - mean(g) - n * mean(g * n)); mean(g) is left out for rms.
template <class T, bool kCentred, class A = accumulate_t<T>>
void row_dx(const T* dy, const T* x, const T* w, T* dx, A mean, A rstd, int64_t D) {
  A sum_g = 0, sum_gn = 0;
#pragma omp simd reduction(+ : sum_g, sum_gn)
  for (int64_t d = 0; d < D; ++d) {
    const A g = widen(dy[d]) * widen(w[d]);
    if constexpr (kCentred) sum_g += g;
    sum_gn += g * ((widen(x[d]) - mean) * rstd);
  }
  const A mean_g = sum_g / static_cast<A>(D), mean_gn = sum_gn / static_cast<A>(D);
#pragma omp simd
  for (int64_t d = 0; d < D; ++d) {
    const A n = (widen(x[d]) - mean) * rstd;
    dx[d] = narrow<T>(rstd * (widen(dy[d]) * widen(w[d]) - mean_g - n * mean_gn));
  }
}

template <class T, bool kCentred>
void backward(const NormBackwardArgs& a) {
  using A = accumulate_t<T>;
  const auto* w = static_cast<const T*>(a.w);
  auto* scratch = static_cast<A*>(a.scratch);
  for_each_chunk(a.T, a.D, [&](int64_t c, int64_t begin, int64_t end) {
    A *dw = scratch + c * 2 * a.D, *db = dw + a.D;
    std::fill(dw, dw + 2 * a.D, A{0});
    for (int64_t t = begin; t < end; ++t) {
      const T* x = static_cast<const T*>(a.x) + t * a.D;
      const T* dy = static_cast<const T*>(a.dy) + t * a.D;
      const A mean = kCentred ? static_cast<const A*>(a.mean)[t] : A{0};
      const A rstd = static_cast<const A*>(a.rstd)[t];
      if (a.dx) row_dx<T, kCentred>(dy, x, w, static_cast<T*>(a.dx) + t * a.D, mean, rstd, a.D);
      if (a.dw) {
#pragma omp simd
        for (int64_t d = 0; d < a.D; ++d) dw[d] += widen(dy[d]) * ((widen(x[d]) - mean) * rstd);
      }
      if (a.db) {
#pragma omp simd
        for (int64_t d = 0; d < a.D; ++d) db[d] += widen(dy[d]);
      }
    }
  });
  if (a.dw) add_chunks(scratch, 2 * a.D, num_chunks(a.T), static_cast<A*>(a.dw), a.D, a.accumulate_dw);
  if (a.db) add_chunks(scratch + a.D, 2 * a.D, num_chunks(a.T), static_cast<A*>(a.db), a.D, a.accumulate_db);
}

}  // namespace

void rms_norm(exec::Cpu, const NormArgs& args) {
  on_floating(args.dtype, [&](auto t) { forward<decltype(t), false>(args); });
}

void layer_norm(exec::Cpu, const NormArgs& args) {
  on_floating(args.dtype, [&](auto t) { forward<decltype(t), true>(args); });
}

int64_t norm_backward_scratch_bytes(exec::Cpu, const NormBackwardArgs& args) {
  return num_chunks(args.T) * 2 * args.D * size_of(accumulate_type(args.dtype));
}

void rms_norm_backward(exec::Cpu, const NormBackwardArgs& args) {
  on_floating(args.dtype, [&](auto t) { backward<decltype(t), false>(args); });
}

void layer_norm_backward(exec::Cpu, const NormBackwardArgs& args) {
  on_floating(args.dtype, [&](auto t) { backward<decltype(t), true>(args); });
}

}  // namespace switchyard::kernels
