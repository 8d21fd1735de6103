// What the attention kernels share: heads as matrices, which keys a query sees, and the two products of 64 x 64 tiles
// of scores. All block-wide: each thread of the block calls them.
#pragma once

#include "kernels/attention.h"
#include "kernels/cuda/tiles.cuh"

namespace switchyard::kernels::cuda {

constexpr int kChunks = 2;                 // tiles of 64 columns that a block sums up in registers
constexpr int kColumns = kChunks * kTile;  // wider heads are spread over blocks, each computing the scores anew
constexpr float kNoMax = -1.7e38f;         // before any score: finite, so that a difference with a hidden one is no NaN
constexpr int kTileFloats = kTile * kStride;  // of a tile of scores in shared memory

// Blocks along the columns of a result.
inline unsigned column_blocks(int64_t width) {
  return width <= kColumns ? 1 : static_cast<unsigned>((width + kColumns - 1) / kColumns);
}

// Whether all rows of all heads can be read 16 bytes at a time.
template <class T>
bool has_wide_heads(const Heads& heads, int64_t width) {
  return has_wide_rows<T>(heads.data, width, heads.position) && heads.batch % kWide<T> == 0 &&
         heads.head % kWide<T> == 0;
}

// The positions of one head.
template <class T>
__device__ inline Matrix<T> head_rows(const Heads& heads, int64_t b, int64_t head, int64_t positions, int64_t width,
                                      bool is_wide) {
  return {static_cast<const T*>(heads.data) + b * heads.batch + head * heads.head, static_cast<int>(heads.position),
          static_cast<int>(positions), static_cast<int>(width), is_wide};
}

struct Range {
  int begin, end;
};

class Mask {
 public:
  __device__ Mask(const AttentionArgs& a, int64_t b)
      : queries_(static_cast<int>(a.queries)),
        keys_(static_cast<int>(a.keys)),
        offset_(keys_ - queries_),
        window_(static_cast<int>(a.window)),
        document_(a.document ? a.document + b * a.keys : nullptr) {}

  // Whole tiles of keys that some query of [begin, begin + kTile) sees, documents aside.
  __device__ Range key_tiles_of(int begin) const {
    const int first = window_ > 0 ? max(0, begin + offset_ - window_ + 1) : 0;
    return {first / kTile * kTile, min(keys_, min(begin + kTile, queries_) + offset_)};
  }
  // Whole tiles of queries that see some key of [begin, begin + kTile), documents aside.
  __device__ Range query_tiles_of(int begin) const {
    const int last = min(begin + kTile, keys_) - 1;
    return {max(0, begin - offset_) / kTile * kTile, window_ > 0 ? min(queries_, last + window_ - offset_) : queries_};
  }
  __device__ bool sees(int query, int key) const {
    const int position = query + offset_;
    if (query >= queries_ || key > position || key >= keys_ || (window_ > 0 && key <= position - window_)) return false;
    return document_ == nullptr || document_[key] == document_[position];
  }

 private:
  int queries_, keys_, offset_, window_;
  const int32_t* document_;
};

// Bit 4 r + c: whether is_seen(r, c) of the thread's four rows and columns.
template <class IsSeen>
__device__ inline unsigned seen_bits(IsSeen&& is_seen) {
  unsigned bits = 0;
#pragma unroll 1
  for (int i = 0; i < 16; ++i) bits |= is_seen(i / 4, i % 4) ? 1u << i : 0u;
  return bits;
}

// sums = a b^T of the first kTile rows of each
template <class T>
__device__ inline void rows_times_rows(const Matrix<T>& a, const Matrix<T>& b, float* panels, Sums& sums) {
  sums = {};
#pragma unroll 1
  for (int i = 0; i < a.columns; i += kDepth) {
    load_transposed(a.from_column(i), panels);
    load_transposed(b.from_column(i), panels + kPanel);
    __syncthreads();
    multiply(panels, panels + kPanel, sums);
    __syncthreads();
  }
}

// tile[4 tx + c][4 ty + r] = scores[r][c]
__device__ inline void store_tile(const Sums& scores, float* tile) {
  float* to = tile + threadIdx.x % 16 * 4 * kStride + threadIdx.x / 16 * 4;
#pragma unroll
  for (int c = 0; c < 4; ++c) put(to + c * kStride, Values<4>{scores[0][c], scores[1][c], scores[2][c], scores[3][c]});
}

// sums[chunk][r][c] += sum over i < kTile of tile[i][r] rows[i][chunk * kTile + c]. Its first barrier comes before it
// reads the tile, its last one after.
template <class T>
__device__ inline void tile_times_rows(const float* tile, const Matrix<T>& rows, float* panel, Sums (&sums)[kChunks]) {
#pragma unroll 1
  for (int i = 0; i < kTile; i += kDepth)
#pragma unroll
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      if (chunk * kTile < rows.columns) {
        load_straight(rows.from_row(i).from_column(chunk * kTile), panel);
        __syncthreads();
        multiply(tile + i * kStride, panel, sums[chunk]);
        __syncthreads();
      }
    }
}

// to[row][column] = scale * sums, rows `stride` elements apart; `to` is where the sums' first row and column belong.
template <class T>
__device__ inline void write_sums(Sums (&sums)[kChunks], float scale, T* to, int64_t stride, int rows, int columns,
                                  bool is_wide) {
#pragma unroll
  for (int chunk = 0; chunk < kChunks; ++chunk)
    for_each_row_of_sums([&](int r, int row, int column) {
      if (row >= rows) return;
      Values<4>& values = sums[chunk][r];
#pragma unroll
      for (int c = 0; c < 4; ++c) values[c] *= scale;
      store_four(to + row * stride + chunk * kTile + column, values, columns - chunk * kTile - column, is_wide);
    });
}

// A score from the product of a query and a key, and what its gradient is multiplied by.
struct Score {
  float value, slope;
};
__device__ inline Score score_of(const AttentionArgs& a, float product) {
  const float s = static_cast<float>(a.scale) * product, cap = static_cast<float>(a.soft_cap);
  if (cap == 0) return {s, 1};
  const float t = tanhf(s / cap);
  return {cap * t, 1 - t * t};
}

}  // namespace switchyard::kernels::cuda
