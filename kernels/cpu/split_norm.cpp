// A row is read from memory once. Traffic: row_squares reads x; its backward reads x and writes dx; normalize_rows
// reads x and writes y; its backward reads dy and x and writes dx and dw_terms.
#include "kernels/split_norm.h"

#include "kernels/cpu/column_sums.h"
#include "kernels/cpu/vecmath.h"

#include <cmath>

namespace switchyard::kernels {
namespace {

template <class A, class Args>
A scale_of(const Args& a, int64_t t) {
  return 1 / std::sqrt(static_cast<const A*>(a.squares)[t] / static_cast<A>(a.width) + static_cast<A>(a.eps));
}

template <class T, class A = accumulate_t<T>>
void squares(const RowSquaresArgs& a) {
  parallel_for(a.T, grain_rows(a.D), [&](int64_t t) {
    const T* x = static_cast<const T*>(a.x) + t * a.D;
    A sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t d = 0; d < a.D; ++d) sum += widen(x[d]) * widen(x[d]);
    static_cast<A*>(a.squares)[t] = static_cast<A>(a.factor) * sum;
  });
}

template <class T, class A = accumulate_t<T>>
void squares_backward(const RowSquaresBackwardArgs& a) {
  parallel_for(a.T, grain_rows(a.D), [&](int64_t t) {
    const T* x = static_cast<const T*>(a.x) + t * a.D;
    T* dx = static_cast<T*>(a.dx) + t * a.D;
    const A factor = 2 * static_cast<A>(a.factor) * static_cast<const A*>(a.dsquares)[t];
#pragma omp simd
    for (int64_t d = 0; d < a.D; ++d) dx[d] = narrow<T>(factor * widen(x[d]));
  });
}

template <class T, class A = accumulate_t<T>>
void normalize(const NormalizeRowsArgs& a) {
  const T* w = static_cast<const T*>(a.w);
  parallel_for(a.T, grain_rows(a.D), [&](int64_t t) {
    const T* x = static_cast<const T*>(a.x) + t * a.D;
    T* y = static_cast<T*>(a.y) + t * a.D;
    const A r = scale_of<A>(a, t);
#pragma omp simd
    for (int64_t d = 0; d < a.D; ++d) y[d] = narrow<T>(widen(x[d]) * r * widen(w[d]));
  });
}

// d r / d squares = -r^3 / (2 width)
template <class T, class A = accumulate_t<T>>
void normalize_backward(const NormalizeRowsBackwardArgs& a) {
  const T* w = static_cast<const T*>(a.w);
  parallel_for(a.T, grain_rows(a.D), [&](int64_t t) {
    const T *x = static_cast<const T*>(a.x) + t * a.D, *dy = static_cast<const T*>(a.dy) + t * a.D;
    T* dx = static_cast<T*>(a.dx) + t * a.D;
    A* terms = static_cast<A*>(a.dw_terms) + t * a.D;
    const A r = scale_of<A>(a, t);
    A sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t d = 0; d < a.D; ++d) {
      const A g = widen(dy[d]) * widen(w[d]);
      sum += g * widen(x[d]);
      dx[d] = narrow<T>(g * r);
      terms[d] = widen(dy[d]) * widen(x[d]) * r;
    }
    static_cast<A*>(a.dsquares)[t] = -sum * r * r * r / (2 * static_cast<A>(a.width));
  });
}

}  // namespace

void row_squares(exec::Cpu, const RowSquaresArgs& args) {
  on_floating(args.dtype, [&](auto t) { squares<decltype(t)>(args); });
}

void row_squares_backward(exec::Cpu, const RowSquaresBackwardArgs& args) {
  on_floating(args.dtype, [&](auto t) { squares_backward<decltype(t)>(args); });
}

void normalize_rows(exec::Cpu, const NormalizeRowsArgs& args) {
  on_floating(args.dtype, [&](auto t) { normalize<decltype(t)>(args); });
}

void normalize_rows_backward(exec::Cpu, const NormalizeRowsBackwardArgs& args) {
  on_floating(args.dtype, [&](auto t) { normalize_backward<decltype(t)>(args); });
}

}  // namespace switchyard::kernels
