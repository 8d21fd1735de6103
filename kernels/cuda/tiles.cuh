// Products of tiles in shared memory, for blocks of kBlock threads: thread (ty, tx) keeps 4 rows from 4 ty and 4
// columns from 4 tx of a 64 x 64 tile of results in registers, and walks along the inner dimension 32 steps at a time.
// Operands of any dtype become f32 on the way into a panel, and what lies outside a matrix becomes zero.
#pragma once

#include "kernels/cuda/vector.cuh"

#include <cstdint>

namespace switchyard::kernels::cuda {

constexpr int kTile = 64;           // rows and columns of a tile
constexpr int kDepth = 32;          // inner steps of a panel
constexpr int kStride = kTile + 4;  // a panel is [kDepth][kStride]: rows start on other banks, and on 16 bytes
constexpr int kPanel = kDepth * kStride;

inline int64_t tiles_of(int64_t width) { return (width + kTile - 1) / kTile; }

// A matrix in device memory, its rows `stride` elements apart.
template <class T>
struct Matrix {
  const T* data;
  int stride, rows, columns;
  bool is_wide;  // rows may be read 16 bytes at a time: they start there, and end there

  __device__ const T* row(int r) const { return data + int64_t{r} * stride; }
  __device__ Matrix from_row(int r) const { return {row(r), stride, rows - r, columns, is_wide}; }
  __device__ Matrix from_column(int column) const { return {data + column, stride, rows, columns - column, is_wide}; }
};

// Whether rows of `width` elements, `stride` apart, can be read 16 bytes at a time.
template <class T>
bool has_wide_rows(const void* data, int64_t width, int64_t stride) {
  return is_wide<T>(width, data) && stride % kWide<T> == 0;
}

// 16 bytes of a row from `column`, as f32; zeros outside the matrix.
template <class T>
__device__ inline Values<kWide<T>> read_run(const Matrix<T>& m, int row, int column) {
  const T* from = m.row(row) + column;
  if (m.is_wide && row < m.rows && column < m.columns) return load<kWide<T>>(from);
  Values<kWide<T>> run;
#pragma unroll
  for (int e = 0; e < kWide<T>; ++e) run[e] = row < m.rows && column + e < m.columns ? widen(from[e]) : 0.0f;
  return run;
}

// panel[i][r] = m[r][i]: the inner dimension lies along the rows of m. The lanes of a warp take two runs of 16 rows, so
// that they write to different banks.
template <class T>
__device__ inline void load_transposed(const Matrix<T>& m, float* panel) {
  constexpr int kRun = kWide<T>, kRuns = kTile * kDepth / kRun;
#pragma unroll
  for (int first = 0; first < kRuns; first += kBlock) {
    const int i = first + static_cast<int>(threadIdx.x), rest = i / 32;
    const int row = rest % 4 * 16 + i % 16, column = (rest / 4 * 2 + i / 16 % 2) * kRun;
    const Values<kRun> run = read_run(m, row, column);
#pragma unroll
    for (int e = 0; e < kRun; ++e) panel[(column + e) * kStride + row] = run[e];
  }
}

// panel[i][c] = m[i][c]: the inner dimension lies across the rows of m.
template <class T>
__device__ inline void load_straight(const Matrix<T>& m, float* panel) {
  constexpr int kRun = kWide<T>, kRuns = kTile * kDepth / kRun, kRunsOfRow = kTile / kRun;
#pragma unroll
  for (int first = 0; first < kRuns; first += kBlock) {
    const int i = first + static_cast<int>(threadIdx.x), row = i / kRunsOfRow, column = i % kRunsOfRow * kRun;
    put(panel + row * kStride + column, read_run(m, row, column));
  }
}

struct Sums {
  Values<4> rows[4] = {};

  __device__ Values<4>& operator[](int r) { return rows[r]; }
  __device__ const Values<4>& operator[](int r) const { return rows[r]; }
};

// sums[r][c] += sum over i < kDepth of a[i][4 ty + r] b[i][4 tx + c]
__device__ inline void multiply(const float* a, const float* b, Sums& sums) {
  const float* left = a + threadIdx.x / 16 * 4;
  const float* right = b + threadIdx.x % 16 * 4;
#pragma unroll 4
  for (int i = 0; i < kDepth; ++i) {
    const Values<4> rows = load<4>(left + i * kStride), columns = load<4>(right + i * kStride);
#pragma unroll
    for (int r = 0; r < 4; ++r)
#pragma unroll
      for (int c = 0; c < 4; ++c) sums[r][c] += rows[r] * columns[c];
  }
}

// body(r, row, column) for the rows of sums that the thread has: row of the tile, and its first column there.
template <class Body>
__device__ inline void for_each_row_of_sums(Body&& body) {
#pragma unroll
  for (int r = 0; r < 4; ++r)
    body(r, static_cast<int>(threadIdx.x) / 16 * 4 + r, static_cast<int>(threadIdx.x) % 16 * 4);
}

}  // namespace switchyard::kernels::cuda
