// Attention of few queries to many keys: decoding. A block has one query of one head and 256 keys: eight lanes read a
// key together, 16 bytes each, then the threads read the values of all these keys, run by run. What each part of the
// keys gives waits in scratch memory; a second kernel adds the parts of a query up in order. Bound by reading k and v
// once from memory: the query heads that share them find them in the second-level cache.
#include "kernels/cuda/attention_tiles.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"

#include <algorithm>

namespace switchyard::kernels {
namespace {

using namespace cuda;

constexpr int kPart = kBlock;  // keys of a part
constexpr int kLanes = 8;      // that read a key together

struct Parts {
  int first_key;  // of the first part: earlier ones are outside every window
  int count;
  bool k_wide, v_wide;
};

// Scratch: for each query of each head and each part, the largest score, the sum of exp(s - largest), and that of
// exp(s - largest) v, V of them.
__device__ float* result_of(const AttentionArgs& a, const Parts& parts, int64_t item, int part) {
  return static_cast<float*>(a.scratch) + (item * parts.count + part) * (a.V + 2);
}

template <class T>
__device__ float dot(const float* q, const Matrix<T>& k, int row) {
  constexpr int kRun = kWide<T>;
  float sum = 0;
  for (int column = threadIdx.x % kLanes * kRun; column < k.columns; column += kLanes * kRun) {
    const Values<kRun> run = read_run(k, row, column);
#pragma unroll
    for (int e = 0; e < kRun; ++e)
      if (column + e < k.columns) sum += q[column + e] * run[e];
  }
#pragma unroll
  for (int lanes = kLanes / 2; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(~0u, sum, lanes);
  return sum;
}

// to[c] = sum over rows i of p[i] v[i][c]. Threads of a group share a run of columns and take one row in so many as
// there are groups.
template <class T>
__device__ void weighted_sum(const float* p, const Matrix<T>& v, float* to) {
  constexpr int kRun = kWide<T>;
  __shared__ __align__(16) float partial[kBlock][kRun];
  const int runs = min((v.columns + kRun - 1) / kRun, kBlock), groups = kBlock / runs;
  const int lane = threadIdx.x % runs, group = threadIdx.x / runs;
  for (int first = 0; first < v.columns; first += runs * kRun) {
    const int column = first + lane * kRun;
    Values<kRun> sums = {};
    for (int i = group; group < groups && i < v.rows; i += groups) {
      const Values<kRun> run = read_run(v, i, column);
#pragma unroll
      for (int e = 0; e < kRun; ++e) sums[e] += p[i] * run[e];
    }
    put(partial[threadIdx.x], sums);
    __syncthreads();
    for (int c = threadIdx.x; c < runs * kRun && first + c < v.columns; c += kBlock) {
      float sum = 0;
      for (int other = 0; other < groups; ++other) sum += partial[other * runs + c / kRun][c % kRun];
      to[first + c] = sum;
    }
    __syncthreads();
  }
}

template <class T>
__global__ void __launch_bounds__(kBlock) part_kernel(AttentionArgs a, Parts parts) {
  extern __shared__ float q[];  // (D)
  __shared__ float scores[kPart], parts_of_block[kBlock / kWarp];
  const int part = blockIdx.x % parts.count;
  const int64_t item = blockIdx.x / parts.count;  // (B, H, queries)
  const int query = item % a.queries;
  const int64_t h = item / a.queries % a.H, b = item / a.queries / a.H, g = h / (a.H / a.G);
  const int first = parts.first_key + part * kPart, count = min(kPart, static_cast<int>(a.keys) - first);
  const auto q_row = head_rows<T>(a.q, b, h, a.queries, a.D, false).from_row(query);
  const auto k = head_rows<T>(a.k, b, g, first + count, a.D, parts.k_wide).from_row(first);
  const auto v = head_rows<T>(a.v, b, g, first + count, a.V, parts.v_wide).from_row(first);
  const Mask mask(a, b);
  for (int d = threadIdx.x; d < a.D; d += kBlock) q[d] = widen(q_row.data[d]);
  __syncthreads();
  for (int i = threadIdx.x / kLanes; i < kPart; i += kBlock / kLanes) {
    const float product = dot(q, k, i);
    if (threadIdx.x % kLanes == 0)
      scores[i] = i < count && mask.sees(query, first + i) ? score_of(a, product).value : -INFINITY;
  }
  __syncthreads();
  const float score = scores[threadIdx.x], m = block_max(fmaxf(score, kNoMax), parts_of_block);
  const float p = expf(score - m), sum = block_sum(p, parts_of_block);
  scores[threadIdx.x] = p;
  __syncthreads();
  float* result = result_of(a, parts, item, part);
  if (threadIdx.x == 0) result[0] = m, result[1] = sum;
  weighted_sum(scores, v, result + 2);
}

// A block for each query of each head.
template <class T>
__global__ void __launch_bounds__(kBlock) combine_kernel(AttentionArgs a, Parts parts) {
  const int64_t item = blockIdx.x, h = item / a.queries % a.H, b = item / a.queries / a.H, query = item % a.queries;
  const float sink = a.sinks ? static_cast<const float*>(a.sinks)[h] : -INFINITY;
  float m = fmaxf(sink, kNoMax);
  for (int part = 0; part < parts.count; ++part) m = fmaxf(m, result_of(a, parts, item, part)[0]);
  float sum = expf(sink - m);
  for (int part = 0; part < parts.count; ++part) {
    const float* result = result_of(a, parts, item, part);
    sum += result[1] * expf(result[0] - m);
  }
  T* to = static_cast<T*>(a.out) + ((b * a.queries + query) * a.H + h) * a.V;
  for (int column = threadIdx.x; column < a.V; column += kBlock) {
    float out = 0;
    for (int part = 0; part < parts.count; ++part) {
      const float* result = result_of(a, parts, item, part);
      out += result[2 + column] * expf(result[0] - m);
    }
    to[column] = narrow<T>(out / sum);
  }
}

Parts parts_of(const AttentionArgs& a) {
  const int64_t first = a.window > 0 ? std::max<int64_t>(0, a.keys - a.queries - a.window + 1) : 0;
  return {static_cast<int>(first), static_cast<int>(ceil_div(a.keys - first, kPart)), false, false};
}

}  // namespace

int64_t attend_few_scratch_bytes(exec::Cuda, const AttentionArgs& a) {
  return a.B * a.H * a.queries * parts_of(a).count * (a.V + 2) * static_cast<int64_t>(sizeof(float));
}

void attend_few(exec::Cuda exec, const AttentionArgs& a) {
  const int64_t items = a.B * a.H * a.queries;
  if (items * a.V == 0) return;
  on_cuda_type(a.dtype, "attend_few", [&](auto t) {
    using T = decltype(t);
    Parts parts = parts_of(a);
    parts.k_wide = has_wide_heads<T>(a.k, a.D);
    parts.v_wide = has_wide_heads<T>(a.v, a.V);
    part_kernel<T><<<static_cast<unsigned>(items * parts.count), kBlock, a.D * sizeof(float), exec.stream>>>(a, parts);
    check_launch("attend_few");
    combine_kernel<T><<<static_cast<unsigned>(items), kBlock, 0, exec.stream>>>(a, parts);
    check_launch("attend_few: combine");
  });
}

}  // namespace switchyard::kernels
