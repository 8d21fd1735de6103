// Each result is one sum in a fixed order, so it depends neither on threads nor on the place of its row. A block of
// four results shares what it loads. Traffic: a row product reads the group's weights once for each row, a weight
// gradient reads x and a column of dy once for each output.
#include "kernels/cpu/products_plain.h"

#include "kernels/cpu/products_blocks.h"

namespace switchyard::kernels::plain {
namespace {

constexpr int64_t kBlock = 4;

// y[j] = sum_k x[k] w[j][k] for `count` rows of w
template <class T, class Out, class A = accumulate_t<T>>
void dots(const T* x, const T* w, Out* y, int64_t count, int64_t K) {
  int64_t j = 0;
  for (; j + kBlock <= count; j += kBlock, w += kBlock * K) {
    A s0 = 0, s1 = 0, s2 = 0, s3 = 0;
#pragma omp simd reduction(+ : s0, s1, s2, s3)
    for (int64_t k = 0; k < K; ++k) {
      const A v = widen(x[k]);
      s0 += v * widen(w[k]);
      s1 += v * widen(w[K + k]);
      s2 += v * widen(w[2 * K + k]);
      s3 += v * widen(w[3 * K + k]);
    }
    y[j] = Out(s0), y[j + 1] = Out(s1), y[j + 2] = Out(s2), y[j + 3] = Out(s3);
  }
  for (; j < count; ++j, w += K) {
    A sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t k = 0; k < K; ++k) sum += widen(x[k]) * widen(w[k]);
    y[j] = Out(sum);
  }
}

// y[c] (+)= sum_i a[i * stride] b[i * C + c], in blocks of columns whose sums stay in registers
template <class T, class Out, class A = accumulate_t<T>>
void weighted_rows(const T* a, int64_t stride, const T* b, int64_t count, int64_t C, Out* y, bool accumulate) {
  constexpr int64_t kColumns = 32;
  for (int64_t begin = 0; begin < C; begin += kColumns) {
    const int64_t columns = std::min(kColumns, C - begin);
    A sums[kColumns] = {};
    for (int64_t i = 0; i < count; ++i) {
      const A v = widen(a[i * stride]);
      const T* row = b + i * C + begin;
#pragma omp simd
      for (int64_t c = 0; c < columns; ++c) sums[c] += v * widen(row[c]);
    }
    for (int64_t c = 0; c < columns; ++c) y[begin + c] = Out(accumulate ? sums[c] + A(y[begin + c]) : sums[c]);
  }
}

template <class T, class Out>
void row_product_as(const RowProductArgs& a) {
  const bool is_forward = a.product == RowProduct::forward;
  const int64_t in = is_forward ? a.K : a.N, out = is_forward ? a.N : a.K;
  for (int64_t g = 0; g < a.G; ++g) {
    const T* w = static_cast<const T*>(a.w) + g * a.N * a.K;
    parallel_for(a.offsets[g + 1] - a.offsets[g], kThreadWork / (a.N * a.K + 1), [&](int64_t i) {
      const int64_t r = a.offsets[g] + i;
      const T* row = static_cast<const T*>(a.rows) + r * in;
      Out* result = static_cast<Out*>(a.out) + r * out;
      if (is_forward)
        dots(row, w, result, a.N, a.K);
      else
        weighted_rows(row, 1, w, a.N, a.K, result, false);
    });
  }
}

}  // namespace

void row_product(const RowProductArgs& a) {
  on_floating(a.dtype, [&](auto t) {
    using T = decltype(t);
    if (a.out_dtype == a.dtype)
      row_product_as<T, T>(a);
    else
      row_product_as<T, accumulate_t<T>>(a);
  });
}

void weight_gradient(const WeightGradientArgs& a) {
  on_floating(a.dtype, [&](auto t) {
    using T = decltype(t);
    parallel_for(a.G * a.N, kThreadWork * a.G / (a.R * a.K + 1), [&](int64_t i) {
      const int64_t g = i / a.N, n = i % a.N, begin = a.offsets[g];
      weighted_rows(static_cast<const T*>(a.dy) + begin * a.N + n, a.N, static_cast<const T*>(a.x) + begin * a.K,
                    a.offsets[g + 1] - begin, a.K, static_cast<accumulate_t<T>*>(a.dw) + i * a.K, a.accumulate);
    });
  });
}

}  // namespace switchyard::kernels::plain
