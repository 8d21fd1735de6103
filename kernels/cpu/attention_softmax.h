// What happens to a tile of scores between its products: soft cap and mask, the running softmax of the forward pass,
// probabilities and their gradient in the backward pass. Rows touch only columns that their panel computes.
#pragma once

#include "kernels/cpu/attention_mask.h"
#include "kernels/cpu/vecmath.h"

namespace switchyard::kernels::attention_detail {

// A running maximum before any score: finite, so that a difference with a hidden score is not NaN.
template <class A>
constexpr A kNoMax = std::numeric_limits<A>::lowest() / 2;

// A panel's keys, to whole vectors.
template <class A>
Span columns_of(Span keys) {
  constexpr int64_t kLanes = Vector<A>::lanes;
  return keys.is_empty() ? Span{} : Span{keys.begin / kLanes * kLanes, round_up(keys.end, kLanes)};
}

// Caps the scores of the tile of queries from q0 and keys from k0, and hides those that the mask forbids.
template <class A>
void finish_scores(const AttentionArgs& a, const Mask& mask, int64_t b, int64_t q0, int64_t k0, const TileSpans& spans,
                   A* tile) {
  if (spans.is_full && a.soft_cap == 0) return;
  const A cap = static_cast<A>(a.soft_cap);
  for (int64_t r = 0; r < std::min(kBlock, a.queries - q0); ++r) {
    const Span columns = columns_of<A>(spans.keys[r / kPanel]);
    A* row = tile + r * kTileStride<A>;
    if (cap != 0) {
#pragma omp simd
      for (int64_t c = columns.begin; c < columns.end; ++c) row[c] = cap * vec_tanh(row[c] / cap);
    }
    if (!spans.is_full) mask.hide(b, q0 + r, k0, columns, row);
  }
}

template <class A>
A max_of(const A* x, int64_t n, A top) {
#pragma omp simd reduction(max : top)
  for (int64_t i = 0; i < n; ++i) top = x[i] > top ? x[i] : top;
  return top;
}

// What a block of queries carries from tile to tile.
template <class A>
struct Running {
  static constexpr int64_t lanes = Vector<A>::lanes;
  A* out;                 // (kBlock, V)  sum of exp(s - m) v, in padded rows
  A m[kBlock];            // largest score so far
  A sum[kBlock * lanes];  // sum of exp(s - m), in as many parts as a vector has: adding those up is left to the end

  A sum_of(int64_t r) const {
    A total = 0;
    for (int64_t l = 0; l < lanes; ++l) total += sum[r * lanes + l];
    return total;
  }
};

// x[i] = exp(x[i] - m), n in whole vectors; sums[l] becomes sums[l] * scale plus what lane l adds.
template <class A>
void exponentials(A* x, int64_t n, A m, A scale, A* sums) {
  constexpr int64_t kLanes = Vector<A>::lanes;
  A parts[kLanes];
#pragma omp simd
  for (int64_t l = 0; l < kLanes; ++l) parts[l] = sums[l] * scale;
  for (int64_t i = 0; i < n; i += kLanes) {
#pragma omp simd
    for (int64_t l = 0; l < kLanes; ++l) parts[l] += x[i + l] = vec_exp(x[i + l] - m);
  }
  std::copy(parts, parts + kLanes, sums);
}

// tile becomes exp(tile - m) for the new maximum m; what was summed before is scaled to it.
template <class A>
void advance_softmax(A* tile, const TileSpans& spans, int64_t V, Running<A>& state) {
  A scale[kBlock];
  for (int64_t r = 0; r < kBlock; ++r) {
    const Span columns = columns_of<A>(spans.keys[r / kPanel]);
    scale[r] = max_of(tile + r * kTileStride<A> + columns.begin, columns.end - columns.begin, state.m[r]);
  }
#pragma omp simd
  for (int64_t r = 0; r < kBlock; ++r) {
    const A top = scale[r];
    scale[r] = vec_exp(state.m[r] - top);
    state.m[r] = top;
  }
  for (int64_t r = 0; r < kBlock; ++r) {
    const Span columns = columns_of<A>(spans.keys[r / kPanel]);
    exponentials(tile + r * kTileStride<A> + columns.begin, columns.end - columns.begin, state.m[r], scale[r],
                 state.sum + r * Running<A>::lanes);
  }
  for (int64_t r = 0; r < kBlock; ++r) {
    if (scale[r] == 1) continue;
    A* out = state.out + r * row_stride<A>(V);
#pragma omp simd
    for (int64_t d = 0; d < padded<A>(V); ++d) out[d] *= scale[r];
  }
}

// p = exp(s - lse) over the scores s, and ds = p (dp - delta) times the slope of the soft cap over dp.
template <class A>
void score_gradient(const AttentionArgs& a, int64_t rows, const TileSpans& spans, const A* lse, const A* delta,
                    A* scores, A* dp) {
  const A cap = static_cast<A>(a.soft_cap);
  for (int64_t r = 0; r < rows; ++r) {
    const Span columns = columns_of<A>(spans.keys[r / kPanel]);
    A* s = scores + r * kTileStride<A>;
    A* ds = dp + r * kTileStride<A>;
    if (cap != 0) {
#pragma omp simd
      for (int64_t c = columns.begin; c < columns.end; ++c) {
        const A t = (s[c] > -cap ? s[c] : -cap) / cap;  // hidden scores are infinite
        ds[c] = (1 - t * t) * (ds[c] - delta[r]);
      }
    } else {
#pragma omp simd
      for (int64_t c = columns.begin; c < columns.end; ++c) ds[c] -= delta[r];
    }
#pragma omp simd
    for (int64_t c = columns.begin; c < columns.end; ++c) {
      s[c] = vec_exp(s[c] - lse[r]);
      ds[c] *= s[c];
    }
  }
}

}  // namespace switchyard::kernels::attention_detail
