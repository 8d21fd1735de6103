// Forward pass of attention. A block has 64 queries of one head and up to 128 columns of its output; it meets the keys
// 64 at a time with a running softmax, whose tile of probabilities passes through shared memory. 16 lanes of a warp
// share four queries. No tensor cores: bound by arithmetic; q, k and v are read from the second-level cache once for
// every tile of scores, from memory about once. Blocks of late queries, which have most keys, start first.
#include "kernels/cuda/attention_tiles.cuh"
#include "kernels/cuda/launch.cuh"

namespace switchyard::kernels {
namespace {

using namespace cuda;

struct Wide {
  bool q, k, v, out;
};

// What a thread keeps of its four queries.
struct Running {
  float m[4], sum[4];  // largest score so far; its own part of the sum of exp(s - m)
  Sums out[kChunks];   // sum of exp(s - m) v
};

__device__ float max_of_lanes(float x) {
#pragma unroll
  for (int lanes = 8; lanes > 0; lanes /= 2) x = fmaxf(x, __shfl_xor_sync(~0u, x, lanes));
  return x;
}
__device__ float sum_of_lanes(float x) {
#pragma unroll
  for (int lanes = 8; lanes > 0; lanes /= 2) x += __shfl_xor_sync(~0u, x, lanes);
  return x;
}

// scores become exp(scores - m) for the new maxima m; what was summed before is scaled to them.
__device__ void advance_softmax(Sums& scores, Running& state) {
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    const float here = fmaxf(fmaxf(scores[r][0], scores[r][1]), fmaxf(scores[r][2], scores[r][3]));
    const float m = fmaxf(state.m[r], max_of_lanes(here)), factor = expf(state.m[r] - m);
    state.m[r] = m;
    state.sum[r] *= factor;
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      scores[r][c] = expf(scores[r][c] - m);
      state.sum[r] += scores[r][c];
#pragma unroll
      for (int chunk = 0; chunk < kChunks; ++chunk) state.out[chunk][r][c] *= factor;
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kBlock, 2) attention_kernel(AttentionArgs a, Wide wide, int query_tiles) {
  __shared__ __align__(16) float panels[2 * kPanel], probabilities[kTileFloats];
  const int q0 = (query_tiles - 1 - static_cast<int>(blockIdx.x % query_tiles)) * kTile;
  const int64_t head = blockIdx.x / query_tiles, b = head / a.H, h = head % a.H, g = h / (a.H / a.G);
  const int first_column = blockIdx.y * kColumns, row = threadIdx.x / 16 * 4, column = threadIdx.x % 16 * 4;
  const auto q = head_rows<T>(a.q, b, h, a.queries, a.D, wide.q).from_row(q0);
  const auto k = head_rows<T>(a.k, b, g, a.keys, a.D, wide.k);
  const auto v = head_rows<T>(a.v, b, g, a.keys, a.V, wide.v).from_column(first_column);
  const Mask mask(a, b);
  Running state;
  const float sink = a.sinks ? static_cast<const float*>(a.sinks)[h] : -INFINITY, m = fmaxf(sink, kNoMax);
#pragma unroll
  for (int r = 0; r < 4; ++r) state.m[r] = m, state.sum[r] = column == 0 ? expf(sink - m) : 0;

  const Range keys = mask.key_tiles_of(q0);
  for (int k0 = keys.begin; k0 < keys.end; k0 += kTile) {
    const unsigned seen = seen_bits([&](int r, int c) { return mask.sees(q0 + row + r, k0 + column + c); });
    if (!__syncthreads_or(seen != 0)) continue;
    Sums scores;
    rows_times_rows(q, k.from_row(k0), panels, scores);
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      float& s = scores[i / 4][i % 4];
      s = seen >> i & 1 ? score_of(a, s).value : -INFINITY;
    }
    advance_softmax(scores, state);
    store_tile(scores, probabilities);
    tile_times_rows(probabilities, v.from_row(k0), panels, state.out);
  }

#pragma unroll
  for (int r = 0; r < 4; ++r) {
    const int64_t query = q0 + row + r;
    const float sum = sum_of_lanes(state.sum[r]), share = 1 / sum;
    if (query < a.queries && column == 0 && blockIdx.y == 0)
      static_cast<float*>(a.lse)[head * a.queries + query] = state.m[r] + logf(sum);
#pragma unroll
    for (int chunk = 0; chunk < kChunks; ++chunk)
#pragma unroll
      for (int c = 0; c < 4; ++c) state.out[chunk][r][c] *= share;
  }
  T* out = static_cast<T*>(a.out) + ((b * a.queries + q0) * a.H + h) * a.V + first_column;
  write_sums(state.out, 1, out, a.H * a.V, q.rows, v.columns, wide.out);
}

}  // namespace

int64_t attention_scratch_bytes(exec::Cuda, const AttentionArgs&) { return 0; }

void attention(exec::Cuda exec, const AttentionArgs& a) {
  if (a.B * a.H * a.queries == 0) return;
  on_cuda_type(a.dtype, "attention", [&](auto t) {
    using T = decltype(t);
    const Wide wide{has_wide_heads<T>(a.q, a.D), has_wide_heads<T>(a.k, a.D), has_wide_heads<T>(a.v, a.V),
                    has_rows_of_four<T>(a.out, a.V)};
    const int query_tiles = static_cast<int>(tiles_of(a.queries));
    const dim3 grid(static_cast<unsigned>(a.B * a.H * query_tiles), column_blocks(a.V));
    attention_kernel<T><<<grid, kBlock, 0, exec.stream>>>(a, wide, query_tiles);
    check_launch("attention");
  });
}

}  // namespace switchyard::kernels
