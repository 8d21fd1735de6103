// RMS norm in two halves, forward and backward.            T rows, D columns of this part, `width` columns in all
// Sums over a row: a team takes it, a warp up to 512 columns, else a block. Otherwise a thread takes a pack of columns
// in 32 rows, and keeps the weight's. Each row is read once: row_squares reads x; its backward reads x and writes dx;
// normalize_rows reads x and writes y; its backward reads dy and x, and w once for 16 rows or more, and writes dx and
// dw_terms, in packs of 16 bytes of f32: with more, neighbours' terms would lie 32 bytes apart.
#include "kernels/split_norm.h"

#include "kernels/cuda/reduce.cuh"

namespace switchyard::kernels {
namespace cuda {
namespace {

constexpr int64_t kThreadRows = 32;

struct Scale {
  float width, eps;
  __device__ float operator()(float squares) const { return 1.0f / sqrtf(squares / width + eps); }
};
template <class Args>
Scale scale_of(const Args& a) {
  return {static_cast<float>(a.width), static_cast<float>(a.eps)};
}

template <class T, int N, class TeamOf>
__global__ void __launch_bounds__(kBlock) square_rows(RowSquaresArgs a) {
  for (int64_t t = TeamOf::first_row(); t < a.T; t += TeamOf::row_stride()) {
    float sum = 0;
    for (int64_t d = TeamOf::thread() * N; d < a.D; d += TeamOf::kSize * N) {
      const Values<N> x = load<N>(static_cast<const T*>(a.x) + t * a.D + d);
#pragma unroll
      for (int j = 0; j < N; ++j) sum += x[j] * x[j];
    }
    sum = TeamOf::sum(sum);
    if (TeamOf::thread() == 0) static_cast<float*>(a.squares)[t] = static_cast<float>(a.factor) * sum;
  }
}

// y[t] = x[t] * factor(t) * w for packs of columns in 32 rows each; without w, its factor is left out.
template <class T, int N, class Factor>
__global__ void __launch_bounds__(kBlock)
    scale_rows(const T* x, const T* w, T* y, int64_t rows, int64_t columns, Factor factor) {
  const int64_t packs = columns / N, items = packs * ((rows + kThreadRows - 1) / kThreadRows);
  for (int64_t i = int64_t{blockIdx.x} * kBlock + threadIdx.x; i < items; i += int64_t{gridDim.x} * kBlock) {
    const int64_t chunk = i / packs, column = (i - chunk * packs) * N, end = min(rows, (chunk + 1) * kThreadRows);
    Values<N> weight{};
    if (w) weight = load<N>(w + column);
#pragma unroll 4
    for (int64_t t = chunk * kThreadRows; t < end; ++t) {
      Values<N> v = load<N>(x + t * columns + column);
      const float f = factor(t);
#pragma unroll
      for (int j = 0; j < N; ++j) v[j] *= w ? f * weight[j] : f;
      store(y + t * columns + column, v);
    }
  }
}

template <class T, class Factor>
void launch_scale_rows(exec::Cuda exec, const char* name, const void* x, const void* w, void* y, int64_t rows,
                       int64_t columns, Factor factor) {
  if (rows == 0 || columns == 0) return;
  on_width<T>(is_wide<T>(columns, x, w, y), [&](auto n) {
    const int64_t items = columns / n * ceil_div(rows, kThreadRows);
    scale_rows<T, n><<<grid_of(ceil_div(items, kBlock)), kBlock, 0, exec.stream>>>(
        static_cast<const T*>(x), static_cast<const T*>(w), static_cast<T*>(y), rows, columns, factor);
    check_launch(name);
  });
}

struct GradientFactor {  // 2 factor dsquares[t]
  float factor;
  const float* dsquares;
  __device__ float operator()(int64_t t) const { return 2 * factor * dsquares[t]; }
};
struct NormFactor {
  Scale scale;
  const float* squares;
  __device__ float operator()(int64_t t) const { return scale(squares[t]); }
};

// d r / d squares = -r^3 / (2 width). The weight waits in shared memory where it fits.
template <class T, int N, class TeamOf>
__global__ void __launch_bounds__(kBlock) normalize_backward(NormalizeRowsBackwardArgs a, Scale scale, bool is_cached) {
  extern __shared__ uint4 shared[];
  const T* w = static_cast<const T*>(a.w);
  if (is_cached) {
    T* kept = reinterpret_cast<T*>(shared);
    for (int64_t d = int64_t{threadIdx.x} * N; d < a.D; d += kBlock * N) Pack<T, N>::load(w + d).put(kept + d);
    w = kept;
    __syncthreads();
  }
  for (int64_t t = TeamOf::first_row(); t < a.T; t += TeamOf::row_stride()) {
    const int64_t row = t * a.D;
    const float r = scale(static_cast<const float*>(a.squares)[t]);
    float sum = 0;
    for (int64_t d = TeamOf::thread() * N; d < a.D; d += TeamOf::kSize * N) {
      const Values<N> x = load<N>(static_cast<const T*>(a.x) + row + d), weight = load<N>(w + d);
      Values<N> dy = load<N>(static_cast<const T*>(a.dy) + row + d), terms;
#pragma unroll
      for (int j = 0; j < N; ++j) {
        terms[j] = dy[j] * x[j] * r;
        dy[j] *= weight[j];
        sum += dy[j] * x[j];
        dy[j] *= r;
      }
      store(static_cast<T*>(a.dx) + row + d, dy);
      store(static_cast<float*>(a.dw_terms) + row + d, terms);
    }
    sum = TeamOf::sum(sum);
    if (TeamOf::thread() == 0) static_cast<float*>(a.dsquares)[t] = -sum * r * r * r / (2 * scale.width);
  }
}

}  // namespace
}  // namespace cuda

using namespace cuda;

void row_squares(exec::Cuda exec, const RowSquaresArgs& a) {
  if (a.T == 0) return;
  on_cuda_type(a.dtype, "row_squares", [&](auto value) {
    using T = decltype(value);
    on_rows<T>(a.D, is_wide<T>(a.D, a.x), [&](auto n, auto team) {
      square_rows<T, n, decltype(team)><<<grid_of_rows(team, a.T), kBlock, 0, exec.stream>>>(a);
      check_launch("row_squares");
    });
  });
}

void row_squares_backward(exec::Cuda exec, const RowSquaresBackwardArgs& a) {
  on_cuda_type(a.dtype, "row_squares_backward", [&](auto value) {
    launch_scale_rows<decltype(value)>(
        exec, "row_squares_backward", a.x, nullptr, a.dx, a.T, a.D,
        GradientFactor{static_cast<float>(a.factor), static_cast<const float*>(a.dsquares)});
  });
}

void normalize_rows(exec::Cuda exec, const NormalizeRowsArgs& a) {
  on_cuda_type(a.dtype, "normalize_rows", [&](auto value) {
    launch_scale_rows<decltype(value)>(exec, "normalize_rows", a.x, a.w, a.y, a.T, a.D,
                                       NormFactor{scale_of(a), static_cast<const float*>(a.squares)});
  });
}

void normalize_rows_backward(exec::Cuda exec, const NormalizeRowsBackwardArgs& a) {
  if (a.T == 0) return;
  on_cuda_type(a.dtype, "normalize_rows_backward", [&](auto value) {
    using T = decltype(value);
    on_rows<float>(a.D, is_wide<T>(a.D, a.dy, a.x, a.w, a.dx, a.dw_terms), [&](auto n, auto team) {
      const int64_t bytes = a.D * int64_t{sizeof(T)};
      const bool is_cached = bytes <= kMostShared;
      const auto kernel = normalize_backward<T, n, decltype(team)>;
      if (is_cached) allow_shared(kernel, bytes);
      const unsigned blocks = is_cached ? grid_of_staged_rows(a.T) : grid_of_rows(team, a.T);
      kernel<<<blocks, kBlock, is_cached ? bytes : 0, exec.stream>>>(a, scale_of(a), is_cached);
      check_launch("normalize_rows_backward");
    });
  });
}

}  // namespace switchyard::kernels
