// Backward pass of attention, without atomics: each result is written by one block, in a fixed order of sums.
//   p = exp(s - lse)   dv = p^T dout   dp = dout v^T   ds = p (dp - delta) slope   dk = ds^T q scale   dq = ds k scale
// First delta = sum of out dout, a warp for each row. Then dq: a block has 64 queries of a head and meets its keys; and
// dk, dv: a block has 64 keys of a head and meets the queries of all query heads that share it. Either has up to 128
// columns of its results in registers and computes the scores anew. No tensor cores: bound by arithmetic.
#include "kernels/cuda/attention_tiles.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"

#include <algorithm>

namespace switchyard::kernels {
namespace {

using namespace cuda;

struct Wide {
  bool q, k, v, dout, out, dq, dk, dv;
};

// Rows of out and dout: (B, queries, H), one after the other.
template <class T>
__global__ void __launch_bounds__(kBlock) delta_kernel(AttentionBackwardArgs args, Wide wide, float* delta) {
  const AttentionArgs& a = args.forward;
  const int64_t item = int64_t{blockIdx.x} * (kBlock / kWarp) + warp_of_block();
  if (item >= a.B * a.queries * a.H) return;
  const int64_t h = item % a.H, query = item / a.H % a.queries, b = item / a.H / a.queries;
  const int width = static_cast<int>(a.V);
  const Matrix<T> out{static_cast<const T*>(a.out) + item * a.V, width, 1, width, wide.out};
  const auto dout = head_rows<T>(args.dout, b, h, a.queries, a.V, wide.dout).from_row(static_cast<int>(query));
  constexpr int kRun = kWide<T>;
  float sum = 0;
  for (int column = lane_of_warp() * kRun; column < width; column += kWarp * kRun) {
    const Values<kRun> x = read_run(out, 0, column), y = read_run(dout, 0, column);
#pragma unroll
    for (int e = 0; e < kRun; ++e) sum += x[e] * y[e];
  }
  sum = warp_sum(sum);
  if (lane_of_warp() == 0) delta[(b * a.H + h) * a.queries + query] = sum;
}

// What a row of scores needs of the forward pass: p = exp(s - lse).
struct Row {
  float lse, delta;
};

template <class T>
__global__ void __launch_bounds__(kBlock, 1)
    dq_kernel(AttentionBackwardArgs args, Wide wide, const float* delta, int query_tiles) {
  __shared__ __align__(16) float panels[2 * kPanel], tile[kTileFloats];
  const AttentionArgs& a = args.forward;
  const int q0 = (query_tiles - 1 - static_cast<int>(blockIdx.x % query_tiles)) * kTile;
  const int64_t head = blockIdx.x / query_tiles, b = head / a.H, h = head % a.H, g = h / (a.H / a.G);
  const int first_column = blockIdx.y * kColumns, row = threadIdx.x / 16 * 4, column = threadIdx.x % 16 * 4;
  const auto q = head_rows<T>(a.q, b, h, a.queries, a.D, wide.q).from_row(q0);
  const auto dout = head_rows<T>(args.dout, b, h, a.queries, a.V, wide.dout).from_row(q0);
  const auto k = head_rows<T>(a.k, b, g, a.keys, a.D, wide.k);
  const auto v = head_rows<T>(a.v, b, g, a.keys, a.V, wide.v);
  const Mask mask(a, b);
  Row rows[4];
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    const int64_t i = head * a.queries + min(q0 + row + r, static_cast<int>(a.queries) - 1);
    rows[r] = {static_cast<const float*>(a.lse)[i], delta[i]};
  }
  Sums dq[kChunks];

  const Range keys = mask.key_tiles_of(q0);
  for (int k0 = keys.begin; k0 < keys.end; k0 += kTile) {
    const unsigned seen = seen_bits([&](int r, int c) { return mask.sees(q0 + row + r, k0 + column + c); });
    if (!__syncthreads_or(seen != 0)) continue;
    Sums scores, ds;
    rows_times_rows(q, k.from_row(k0), panels, scores);
    rows_times_rows(dout, v.from_row(k0), panels, ds);
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      const Row& of = rows[i / 4];
      const Score s = score_of(a, scores[i / 4][i % 4]);
      float& gradient = ds[i / 4][i % 4];
      gradient = seen >> i & 1 ? expf(s.value - of.lse) * s.slope * (gradient - of.delta) : 0;
    }
    store_tile(ds, tile);
    tile_times_rows(tile, k.from_row(k0).from_column(first_column), panels, dq);
  }

  T* to = static_cast<T*>(args.dq) + ((b * a.queries + q0) * a.H + h) * a.D + first_column;
  write_sums(dq, static_cast<float>(a.scale), to, a.H * a.D, q.rows, static_cast<int>(a.D) - first_column, wide.dq);
}

template <class T>
__global__ void __launch_bounds__(kBlock, 1)
    dk_dv_kernel(AttentionBackwardArgs args, Wide wide, const float* delta, int key_tiles) {
  __shared__ __align__(16) float panels[2 * kPanel], tile[kTileFloats];
  const AttentionArgs& a = args.forward;
  const int k0 = static_cast<int>(blockIdx.x % key_tiles) * kTile;
  const int64_t b = blockIdx.x / key_tiles / a.G, g = blockIdx.x / key_tiles % a.G, group = a.H / a.G;
  const int first_column = blockIdx.y * kColumns, row = threadIdx.x / 16 * 4, column = threadIdx.x % 16 * 4;
  const auto k = head_rows<T>(a.k, b, g, a.keys, a.D, wide.k).from_row(k0);
  const auto v = head_rows<T>(a.v, b, g, a.keys, a.V, wide.v).from_row(k0);
  const Mask mask(a, b);
  Sums dk[kChunks], dv[kChunks];

  const Range queries = mask.query_tiles_of(k0);
  for (int64_t h = g * group; h < (g + 1) * group; ++h) {
    const auto q = head_rows<T>(a.q, b, h, a.queries, a.D, wide.q);
    const auto dout = head_rows<T>(args.dout, b, h, a.queries, a.V, wide.dout);
    const int64_t head = b * a.H + h;
    for (int q0 = queries.begin; q0 < queries.end; q0 += kTile) {
      const unsigned seen = seen_bits([&](int r, int c) { return mask.sees(q0 + column + c, k0 + row + r); });
      if (!__syncthreads_or(seen != 0)) continue;
      Row rows[4];
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        const int64_t i = head * a.queries + min(q0 + column + c, static_cast<int>(a.queries) - 1);
        rows[c] = {static_cast<const float*>(a.lse)[i], delta[i]};
      }
      Sums p, ds;  // (keys, queries)
      rows_times_rows(k, q.from_row(q0), panels, p);
      Sums slopes;  // times p
#pragma unroll
      for (int i = 0; i < 16; ++i) {
        float& probability = p[i / 4][i % 4];
        const Score s = score_of(a, probability);
        probability = seen >> i & 1 ? expf(s.value - rows[i % 4].lse) : 0;
        slopes[i / 4][i % 4] = probability * s.slope;
      }
      store_tile(p, tile);
      if (args.dv) tile_times_rows(tile, dout.from_row(q0).from_column(first_column), panels, dv);
      if (!args.dk) continue;
      rows_times_rows(v, dout.from_row(q0), panels, ds);
#pragma unroll
      for (int i = 0; i < 16; ++i) ds[i / 4][i % 4] = slopes[i / 4][i % 4] * (ds[i / 4][i % 4] - rows[i % 4].delta);
      store_tile(ds, tile);
      tile_times_rows(tile, q.from_row(q0).from_column(first_column), panels, dk);
    }
  }

  if (args.dk) {
    T* to = static_cast<T*>(args.dk) + ((b * a.keys + k0) * a.G + g) * a.D + first_column;
    write_sums(dk, static_cast<float>(a.scale), to, a.G * a.D, k.rows, static_cast<int>(a.D) - first_column, wide.dk);
  }
  if (args.dv) {
    T* to = static_cast<T*>(args.dv) + ((b * a.keys + k0) * a.G + g) * a.V + first_column;
    write_sums(dv, 1, to, a.G * a.V, v.rows, static_cast<int>(a.V) - first_column, wide.dv);
  }
}

// dsinks[h] (+)= sum over b and queries of -exp(sink - lse) delta; a block for each head.
__global__ void __launch_bounds__(kBlock) dsinks_kernel(AttentionBackwardArgs args, const float* delta) {
  const AttentionArgs& a = args.forward;
  const int64_t h = blockIdx.x;
  const float sink = static_cast<const float*>(a.sinks)[h];
  float sum = 0;
  for (int64_t b = 0; b < a.B; ++b) {
    const int64_t row = (b * a.H + h) * a.queries;
    for (int64_t i = threadIdx.x; i < a.queries; i += kBlock)
      sum -= expf(sink - static_cast<const float*>(a.lse)[row + i]) * delta[row + i];
  }
  __shared__ float parts[kBlock / kWarp];
  sum = block_sum(sum, parts);
  float* to = static_cast<float*>(args.dsinks) + h;
  if (threadIdx.x == 0) *to = args.accumulate_dsinks ? *to + sum : sum;
}

template <class T>
void launch(exec::Cuda exec, const AttentionBackwardArgs& args) {
  const AttentionArgs& a = args.forward;
  auto* delta = static_cast<float*>(args.scratch);
  const Wide wide{has_wide_heads<T>(a.q, a.D),       has_wide_heads<T>(a.k, a.D),
                  has_wide_heads<T>(a.v, a.V),       has_wide_heads<T>(args.dout, a.V),
                  has_wide_rows<T>(a.out, a.V, a.V), has_rows_of_four<T>(args.dq, a.D),
                  has_rows_of_four<T>(args.dk, a.D), has_rows_of_four<T>(args.dv, a.V)};
  const int query_tiles = static_cast<int>(tiles_of(a.queries)), key_tiles = static_cast<int>(tiles_of(a.keys));
  if (a.B * a.H * a.queries > 0) {
    delta_kernel<T><<<static_cast<unsigned>(ceil_div(a.B * a.H * a.queries, kBlock / kWarp)), kBlock, 0, exec.stream>>>(
        args, wide, delta);
    check_launch("attention_backward: delta");
    if (args.dq) {
      const dim3 grid(static_cast<unsigned>(a.B * a.H * query_tiles), column_blocks(a.D));
      dq_kernel<T><<<grid, kBlock, 0, exec.stream>>>(args, wide, delta, query_tiles);
      check_launch("attention_backward: dq");
    }
  }
  if (a.B * a.G * a.keys > 0 && (args.dk || args.dv)) {
    const dim3 grid(static_cast<unsigned>(a.B * a.G * key_tiles), column_blocks(std::max(a.D, a.V)));
    dk_dv_kernel<T><<<grid, kBlock, 0, exec.stream>>>(args, wide, delta, key_tiles);
    check_launch("attention_backward: dk, dv");
  }
  if (args.dsinks && a.H > 0) {
    dsinks_kernel<<<static_cast<unsigned>(a.H), kBlock, 0, exec.stream>>>(args, delta);
    check_launch("attention_backward: dsinks");
  }
}

}  // namespace

int64_t attention_backward_scratch_bytes(exec::Cuda, const AttentionBackwardArgs& args) {
  return args.forward.B * args.forward.H * args.forward.queries * static_cast<int64_t>(sizeof(float));
}

void attention_backward(exec::Cuda exec, const AttentionBackwardArgs& args) {
  on_cuda_type(args.forward.dtype, "attention_backward", [&](auto t) { launch<decltype(t)>(exec, args); });
}

}  // namespace switchyard::kernels
