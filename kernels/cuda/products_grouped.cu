// Products of rows grouped by expert, where only the device knows how many rows each expert has: plain tiles, no tensor
// cores. A row product has a block for each 64 rows of a group by 64 outputs, a weight gradient one for each 64 by 64
// weights of a group, which walks along the group's rows. The host launches blocks for the most row tiles that R rows
// in G groups can make; a block finds its group from the offsets, and one without rows ends at once. Bound by
// arithmetic of the plain cores; each operand is read once for every 64 results along the other.
#include "kernels/cuda/products.h"

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/tiles.cuh"

namespace switchyard::kernels::grouped {
namespace {

using namespace cuda;

struct RowTile {
  int group;
  int64_t row, end;  // first row of the tile; end of the group's
};

// Tiles of group g are numbered from offsets[g] / kTile + g on: enough room for its last, partial one.
__device__ RowTile find_tile(const int64_t* offsets, int64_t G, int64_t tile) {
  int64_t low = 0, high = G;  // the group is in [low, high)
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    (offsets[middle] / kTile + middle <= tile ? low : high) = middle;
  }
  return {static_cast<int>(low), offsets[low] + (tile - offsets[low] / kTile - low) * kTile, offsets[low + 1]};
}

struct Wide {
  bool rows, w, out;
};

template <class T>
__device__ Matrix<T> matrix(const void* base, int64_t offset, int64_t rows, int64_t width, bool is_wide) {
  return {static_cast<const T*>(base) + offset, static_cast<int>(width), static_cast<int>(rows),
          static_cast<int>(width), is_wide};
}

template <class T, RowProduct kProduct>
__global__ void __launch_bounds__(kBlock, 2) row_product_kernel(RowProductArgs a, Wide wide) {
  constexpr bool kIsForward = kProduct == RowProduct::forward;
  __shared__ __align__(16) float row_panel[kPanel], weight_panel[kPanel];
  const int in = static_cast<int>(kIsForward ? a.K : a.N), out = static_cast<int>(kIsForward ? a.N : a.K);
  const int columns_of_tiles = (out + kTile - 1) / kTile, column = blockIdx.x % columns_of_tiles * kTile;
  const RowTile tile = find_tile(a.offsets, a.G, blockIdx.x / columns_of_tiles);
  if (tile.row >= tile.end) return;
  const auto rows = matrix<T>(a.rows, tile.row * in, tile.end - tile.row, in, wide.rows);
  const auto w = matrix<T>(a.w, tile.group * a.N * a.K, a.N, a.K, wide.w);
  Sums sums;
  for (int i = 0; i < in; i += kDepth) {
    load_transposed(rows.from_column(i), row_panel);
    if (kIsForward)
      load_transposed(w.from_row(column).from_column(i), weight_panel);
    else
      load_straight(w.from_row(i).from_column(column), weight_panel);
    __syncthreads();
    multiply(row_panel, weight_panel, sums);
    __syncthreads();
  }
  T* to = static_cast<T*>(a.out) + tile.row * out + column;
  for_each_row_of_sums([&](int r, int row, int c) {
    if (row < rows.rows) store_four(to + static_cast<int64_t>(row) * out + c, sums[r], out - column - c, wide.out);
  });
}

template <class T>
__global__ void __launch_bounds__(kBlock, 2) weight_gradient_kernel(WeightGradientArgs a, Wide wide) {
  __shared__ __align__(16) float dy_panel[kPanel], x_panel[kPanel];
  const int tiles_n = (a.N + kTile - 1) / kTile, tiles_k = (a.K + kTile - 1) / kTile;
  const int k = blockIdx.x % tiles_k * kTile, n = blockIdx.x / tiles_k % tiles_n * kTile;
  const int64_t g = blockIdx.x / tiles_k / tiles_n, begin = a.offsets[g];
  const int count = static_cast<int>(a.offsets[g + 1] - begin);
  if (count == 0 && a.accumulate) return;
  const auto dy = matrix<T>(a.dy, begin * a.N, count, a.N, wide.rows).from_column(n);
  const auto x = matrix<T>(a.x, begin * a.K, count, a.K, wide.w).from_column(k);
  Sums sums;
  for (int r = 0; r < count; r += kDepth) {
    load_straight(dy.from_row(r), dy_panel);
    load_straight(x.from_row(r), x_panel);
    __syncthreads();
    multiply(dy_panel, x_panel, sums);
    __syncthreads();
  }
  float* dw = static_cast<float*>(a.dw) + (g * a.N + n) * a.K + k;
  for_each_row_of_sums([&](int r, int row, int c) {
    if (row >= a.N - n) return;
    float* to = dw + row * a.K + c;
    if (a.accumulate)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if (k + c + i < a.K) sums[r][i] += to[i];
    store_four(to, sums[r], a.K - k - c, wide.out);
  });
}

template <class T, RowProduct kProduct>
void launch(exec::Cuda exec, const RowProductArgs& a) {
  constexpr bool kIsForward = kProduct == RowProduct::forward;
  const int64_t in = kIsForward ? a.K : a.N, out = kIsForward ? a.N : a.K;
  const Wide wide{has_wide_rows<T>(a.rows, in, in), has_wide_rows<T>(a.w, a.K, a.K), has_rows_of_four<T>(a.out, out)};
  const auto count = static_cast<unsigned>((a.R / kTile + a.G) * tiles_of(out));
  row_product_kernel<T, kProduct><<<count, kBlock, 0, exec.stream>>>(a, wide);
  check_launch("row_product");
}

}  // namespace

void row_product(exec::Cuda exec, const RowProductArgs& a) {
  on_cuda_type(a.dtype, "row_product", [&](auto t) {
    using T = decltype(t);
    if (a.product == RowProduct::forward)
      launch<T, RowProduct::forward>(exec, a);
    else
      launch<T, RowProduct::input_gradient>(exec, a);
  });
}

void weight_gradient(exec::Cuda exec, const WeightGradientArgs& a) {
  on_cuda_type(a.dtype, "weight_gradient", [&](auto t) {
    using T = decltype(t);
    const Wide wide{has_wide_rows<T>(a.dy, a.N, a.N), has_wide_rows<T>(a.x, a.K, a.K),
                    has_rows_of_four<float>(a.dw, a.K)};
    const auto count = static_cast<unsigned>(a.G * tiles_of(a.N) * tiles_of(a.K));
    weight_gradient_kernel<T><<<count, kBlock, 0, exec.stream>>>(a, wide);
    check_launch("weight_gradient");
  });
}

}  // namespace switchyard::kernels::grouped
