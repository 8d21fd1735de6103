// Sums over rows, in a fixed order: of chunks of rows, then of the chunks by the same kernel.    R rows, N columns
// A block takes one chunk of 32 packs of 4 columns: its 4 warps take every fourth row, and the first warp adds what
// they have. Chunks depend on R alone, so no sum depends on the grid. Packs of 8 in bf16 would leave neighbours' sums
// 32 bytes apart, so that each write uses half of its sectors. Traffic: x is read once; partial sums are 1/64 of it.
#pragma once

#include "kernels/cuda/reduce.cuh"

namespace switchyard::kernels::cuda {

constexpr int kColumnWarps = 4;
constexpr int64_t kSumRows = 64;  // of a chunk, at least
constexpr int64_t kMostChunks = 256;

inline int64_t sum_chunks(int64_t rows) { return std::clamp<int64_t>(rows / kSumRows, 1, kMostChunks); }

template <class T, int N>
struct ColumnSums {
  const T* x;   // (rows, columns)
  float* sums;  // (chunks, columns)
  int64_t rows, columns, chunks;
  bool accumulate;
};

template <class T, int N>
__global__ void __launch_bounds__(kColumnWarps* kWarp) column_sums(ColumnSums<T, N> a) {
  __shared__ Values<N> parts[kColumnWarps][kWarp];
  const int lane = lane_of_warp(), warp = warp_of_block();
  const int64_t tiles = (a.columns + kWarp * N - 1) / (kWarp * N);
  for (int64_t item = blockIdx.x; item < tiles * a.chunks; item += gridDim.x) {
    const int64_t chunk = item / tiles, column = (item % tiles * kWarp + lane) * N;
    const int64_t end = a.rows * (chunk + 1) / a.chunks;
    Values<N> sum{};
    if (column < a.columns) {
#pragma unroll 4
      for (int64_t row = a.rows * chunk / a.chunks + warp; row < end; row += kColumnWarps) {
        const Values<N> x = load<N>(a.x + row * a.columns + column);
#pragma unroll
        for (int j = 0; j < N; ++j) sum[j] += x[j];
      }
    }
    parts[warp][lane] = sum;
    __syncthreads();
    if (warp == 0 && column < a.columns) {
#pragma unroll
      for (int w = 1; w < kColumnWarps; ++w)
#pragma unroll
        for (int j = 0; j < N; ++j) sum[j] += parts[w][lane][j];
      float* out = a.sums + chunk * a.columns + column;
      if (a.accumulate) {
        const Values<N> before = load<N>(out);
#pragma unroll
        for (int j = 0; j < N; ++j) sum[j] += before[j];
      }
      store(out, sum);
    }
    __syncthreads();  // before parts are written again
  }
}

template <class T>
void launch_column_sums(cudaStream_t stream, const T* x, float* sums, int64_t rows, int64_t columns, int64_t chunks,
                        bool accumulate) {
  const bool wide = columns % kWide<T> == 0 && is_wide<T>(columns, x) && is_wide<float>(columns, sums);
  on_width<float>(wide, [&](auto n) {
    const int64_t tiles = ceil_div(columns, kWarp * n);
    column_sums<T, n>
        <<<grid_of(tiles * chunks), kColumnWarps * kWarp, 0, stream>>>({x, sums, rows, columns, chunks, accumulate});
    check_launch("column sums");
  });
}

}  // namespace switchyard::kernels::cuda
