// The three small products that attention is made of, on tiles of 64 queries by 64 keys, in registers of 8 rows by two
// vectors. A panel of rows computes only the span of the inner dimension, or the columns, that the mask leaves; another
// engine (matrix tiles) would replace these functions and the packing.
//   D head width    rows are stored padded: row_stride(D) apart, padded(D) of them computed
#pragma once

#include "switchyard/base/round_up.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace switchyard::kernels::attention_detail {

#ifdef __AVX512F__
constexpr int64_t kVectorBytes = 64, kPanel = 8;  // 16 accumulators of 32 registers
#else
constexpr int64_t kVectorBytes = 32, kPanel = 4;  // 8 accumulators of 16 registers
#endif
constexpr int64_t kBlock = 64;                // queries and keys of a tile
constexpr int64_t kPanels = kBlock / kPanel;  // of a tile

template <class A>
struct Vector {
  typedef A type __attribute__((vector_size(kVectorBytes)));
  static constexpr int64_t lanes = kVectorBytes / static_cast<int64_t>(sizeof(A));
};
template <class A>
constexpr int64_t kColumns = 2 * Vector<A>::lanes;  // columns of a register tile

template <class A>
constexpr int64_t padded(int64_t width) {
  return round_up(width, kColumns<A>);
}
// An odd number of vectors, so that a column of panels spreads over all sets of the cache.
template <class A>
constexpr int64_t row_stride(int64_t width) {
  return padded<A>(width) + Vector<A>::lanes;
}
template <class A>
constexpr int64_t kTileStride = row_stride<A>(kBlock);

struct Span {
  int64_t begin = 0, end = 0;
  bool is_empty() const { return begin >= end; }
};

// What a tile needs to compute, in local indices.
struct TileSpans {
  Span keys[kPanels];     // keys that some query of the panel sees
  Span queries[kPanels];  // queries that see some key of the panel
  bool is_full = false;   // every query sees every key
};

// How the left operand lies: a(r, i) at a[r * lda + i], or at a[i * lda + r].
enum class Left { rows, columns };

// c[kPanel][kColumns] (+)= a[kPanel][inner] b[inner][kColumns]
template <Left kLeft, class A>
inline void multiply_panel(const A* a, int64_t lda, const A* b, int64_t ldb, A* c, int64_t ldc, int64_t inner,
                           bool add) {
  using V = typename Vector<A>::type;
  constexpr int64_t kLanes = Vector<A>::lanes;
  V sum[kPanel][2];
#pragma GCC unroll 8
  for (int64_t r = 0; r < kPanel; ++r)
    for (int64_t v = 0; v < 2; ++v) {
      if (add)
        std::memcpy(&sum[r][v], c + r * ldc + v * kLanes, sizeof(V));
      else
        sum[r][v] = V{};
    }
  for (int64_t i = 0; i < inner; ++i) {
    V right[2];
    std::memcpy(&right[0], b + i * ldb, sizeof(V));
    std::memcpy(&right[1], b + i * ldb + kLanes, sizeof(V));
#pragma GCC unroll 8
    for (int64_t r = 0; r < kPanel; ++r) {
      const A left = kLeft == Left::rows ? a[r * lda + i] : a[i * lda + r];
      sum[r][0] += left * right[0];
      sum[r][1] += left * right[1];
    }
  }
#pragma GCC unroll 8
  for (int64_t r = 0; r < kPanel; ++r)
    for (int64_t v = 0; v < 2; ++v) std::memcpy(c + r * ldc + v * kLanes, &sum[r][v], sizeof(V));
}

// tile[q][k] = sum over d of rows[q][d] * keys[k][d]; `columns` holds the keys in panels of kColumns:
// [panel][D][kColumns]. Columns that no query of a panel sees are left as they are.
template <class A>
void rows_times_columns(const A* rows, const A* columns, int64_t D, A* tile, const TileSpans& spans) {
  for (int64_t k = 0; k < kBlock; k += kColumns<A>)
    for (int64_t p = 0; p < kPanels; ++p)
      if (spans.keys[p].begin < k + kColumns<A> && spans.keys[p].end > k)
        multiply_panel<Left::rows>(rows + p * kPanel * row_stride<A>(D), row_stride<A>(D), columns + k * D, kColumns<A>,
                                   tile + p * kPanel * kTileStride<A> + k, kTileStride<A>, D, false);
}

// out[q][d] += sum over k of tile[q][k] * rows[k][d]
template <class A>
void tile_times_rows(const A* tile, const A* rows, int64_t D, A* out, const TileSpans& spans) {
  const int64_t stride = row_stride<A>(D);
  for (int64_t d = 0; d < padded<A>(D); d += kColumns<A>)
    for (int64_t p = 0; p < kPanels; ++p) {
      const Span keys = spans.keys[p];
      if (keys.is_empty()) continue;
      multiply_panel<Left::rows>(tile + p * kPanel * kTileStride<A> + keys.begin, kTileStride<A>,
                                 rows + keys.begin * stride + d, stride, out + p * kPanel * stride + d, stride,
                                 keys.end - keys.begin, true);
    }
}

// out[k][d] += sum over q of tile[q][k] * rows[q][d]
template <class A>
void tile_transposed_times_rows(const A* tile, const A* rows, int64_t D, A* out, const TileSpans& spans) {
  const int64_t stride = row_stride<A>(D);
  for (int64_t d = 0; d < padded<A>(D); d += kColumns<A>)
    for (int64_t p = 0; p < kPanels; ++p) {
      const Span queries = spans.queries[p];
      if (queries.is_empty()) continue;
      multiply_panel<Left::columns>(tile + queries.begin * kTileStride<A> + p * kPanel, kTileStride<A>,
                                    rows + queries.begin * stride + d, stride, out + p * kPanel * stride + d, stride,
                                    queries.end - queries.begin, true);
    }
}

}  // namespace switchyard::kernels::attention_detail
