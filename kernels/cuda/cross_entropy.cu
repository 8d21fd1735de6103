// Cross entropy, a block for each row at work. The first pass over the row keeps a running maximum and the sum of
// exponentials below it in each thread, four classes at a time, and adds the threads' sums up in a fixed order; the
// second writes the gradient. Bound by memory: logits are read once, or twice where a row does not fit into shared
// memory; dlogits are written once. The pieces for split classes are these two passes as kernels of their own.
#include "kernels/cross_entropy.h"

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/vector.cuh"

namespace switchyard::kernels {
namespace {

using namespace cuda;

// A row of logits, read in fours.
struct Logits {
  const float* x;
  int64_t V;
  bool is_aligned;  // fours start on 16 bytes, and V is made of them
  float* kept;      // a copy in shared memory for the second pass; null: there is no room, or no such pass

  // Those from class v; `otherwise` behind the last.
  __device__ Values<4> four(int64_t v, float otherwise) const {
    if (is_aligned) return load<4>(x + v);
    return {x[v], v + 1 < V ? x[v + 1] : otherwise, v + 2 < V ? x[v + 2] : otherwise, v + 3 < V ? x[v + 3] : otherwise};
  }
};

struct RowSum {
  float largest;
  double sum;  // of exp(x - largest)
};

// The same in every thread.
__device__ RowSum sum_of_exponentials(const Logits& row) {
  constexpr float kNoMax = -1.7e38f;  // finite: its difference with a logit of minus infinity is no NaN
  __shared__ float maxima[kBlock / kWarp];
  __shared__ double sums[kBlock / kWarp];
  float m = kNoMax, sum = 0;
  for (int64_t v = threadIdx.x * 4; v < row.V; v += kBlock * 4) {
    const Values<4> x = row.four(v, -INFINITY);
    if (row.kept) put(row.kept + v, x);  // which this thread alone reads
    const float top = fmaxf(m, fmaxf(fmaxf(x[0], x[1]), fmaxf(x[2], x[3])));
    sum = sum * expf(m - top) + ((expf(x[0] - top) + expf(x[1] - top)) + (expf(x[2] - top) + expf(x[3] - top)));
    m = top;
  }
  const float largest = block_max(m, maxima);
  return {largest, block_sum(static_cast<double>(sum * expf(m - largest)), sums)};
}

// d[v] = factor exp(x[v] - largest), less scale at the target.
template <class T>
__device__ void write_gradient(const Logits& row, float largest, float factor, int64_t target, float scale, T* d) {
  for (int64_t v = threadIdx.x * 4; v < row.V; v += kBlock * 4) {
    Values<4> x = row.kept ? load<4>(row.kept + v) : row.four(v, 0);
#pragma unroll
    for (int e = 0; e < 4; ++e) x[e] = expf(x[e] - largest) * factor - (v + e == target ? scale : 0);
    store_four(d + v, x, row.V - v, row.is_aligned);
  }
}
template <class T>
__device__ void write_zeros(const Logits& row, T* d) {
  for (int64_t v = threadIdx.x * 4; v < row.V; v += kBlock * 4)
    store_four(d + v, Values<4>{}, row.V - v, row.is_aligned);
}

template <class T, class Args>
__device__ T* gradient_of(const Args& a, int64_t r) {
  return a.dlogits ? static_cast<T*>(a.dlogits) + r * a.V : nullptr;
}
template <class Args>
__device__ Logits row_of(const Args& a, int64_t r, bool is_aligned, float* kept = nullptr) {
  return {static_cast<const float*>(a.logits) + r * a.V, a.V, is_aligned, kept};
}

template <class T>
__device__ void cross_entropy_row(const CrossEntropyArgs& a, int64_t r, bool is_aligned, float* kept) {
  const int32_t target = a.targets[r];
  const Logits row = row_of(a, r, is_aligned, kept);
  T* d = gradient_of<T>(a, r);
  float* loss = static_cast<float*>(a.losses) + r;
  if (target < 0) {
    if (threadIdx.x == 0) *loss = 0;
    if (d) write_zeros(row, d);
    return;
  }
  const float of_target = row.x[target];
  const RowSum sum = sum_of_exponentials(row);
  if (threadIdx.x == 0) *loss = static_cast<float>(log(sum.sum) + static_cast<double>(sum.largest - of_target));
  if (!d) return;
  const float scale = static_cast<float>(a.scale);
  write_gradient(row, sum.largest, static_cast<float>(a.scale / sum.sum), target, scale, d);
}

__device__ void statistics_row(const SplitCrossEntropyArgs& a, int64_t r, bool is_aligned) {
  const int64_t target = a.targets[r] - a.first;
  const Logits row = row_of(a, r, is_aligned);
  const RowSum sum = sum_of_exponentials(row);
  if (threadIdx.x > 0) return;
  double* to = a.statistics + r * 3;
  to[0] = a.V == 0 ? -INFINITY : sum.largest;
  to[1] = sum.sum;
  to[2] = a.targets[r] >= 0 && target >= 0 && target < a.V ? row.x[target] : 0;
}

template <class T>
__device__ void from_statistics_row(const SplitCrossEntropyArgs& a, int64_t r, bool is_aligned) {
  const double* statistics = a.statistics + r * 3;
  const Logits row = row_of(a, r, is_aligned);
  T* d = gradient_of<T>(a, r);
  const bool has_target = a.targets[r] >= 0;
  if (threadIdx.x == 0)
    static_cast<float*>(a.losses)[r] =
        has_target ? static_cast<float>(log(statistics[1]) + (statistics[0] - statistics[2])) : 0;
  if (!d) return;
  if (!has_target) {
    write_zeros(row, d);
    return;
  }
  write_gradient(row, static_cast<float>(statistics[0]), static_cast<float>(a.scale / statistics[1]),
                 a.targets[r] - a.first, static_cast<float>(a.scale), d);
}

template <class T>
__global__ void __launch_bounds__(kBlock) cross_entropy_kernel(CrossEntropyArgs a, bool is_aligned, bool keeps) {
  extern __shared__ __align__(16) float kept[];  // (V)
  for (int64_t r = blockIdx.x; r < a.R; r += gridDim.x) cross_entropy_row<T>(a, r, is_aligned, keeps ? kept : nullptr);
}
__global__ void __launch_bounds__(kBlock) statistics_kernel(SplitCrossEntropyArgs a, bool is_aligned) {
  for (int64_t r = blockIdx.x; r < a.R; r += gridDim.x) statistics_row(a, r, is_aligned);
}
template <class T>
__global__ void __launch_bounds__(kBlock) from_statistics_kernel(SplitCrossEntropyArgs a, bool is_aligned) {
  for (int64_t r = blockIdx.x; r < a.R; r += gridDim.x) from_statistics_row<T>(a, r, is_aligned);
}

template <class T, class Args>
bool is_aligned(const Args& a) {
  return has_rows_of_four<float>(a.logits, a.V) && has_rows_of_four<T>(a.dlogits, a.V);
}

}  // namespace

void cross_entropy(exec::Cuda exec, const CrossEntropyArgs& a) {
  if (a.R == 0) return;
  on_cuda_type(a.dtype, "cross_entropy", [&](auto t) {
    using T = decltype(t);
    const int64_t row_bytes = ceil_div(a.V, 4) * 16;
    const bool keeps = a.dlogits && row_bytes <= kMostShared;
    const int64_t shared = keeps ? row_bytes : 0;
    allow_shared(cross_entropy_kernel<T>, shared);
    cross_entropy_kernel<T><<<grid_of(a.R), kBlock, shared, exec.stream>>>(a, is_aligned<T>(a), keeps);
    check_launch("cross_entropy");
  });
}

void cross_entropy_statistics(exec::Cuda exec, const SplitCrossEntropyArgs& a) {
  if (a.R == 0) return;
  on_cuda_type(a.dtype, "cross_entropy_statistics", [&](auto) {
    statistics_kernel<<<grid_of(a.R), kBlock, 0, exec.stream>>>(a, is_aligned<float>(a));
    check_launch("cross_entropy_statistics");
  });
}

void cross_entropy_from_statistics(exec::Cuda exec, const SplitCrossEntropyArgs& a) {
  if (a.R == 0) return;
  on_cuda_type(a.dtype, "cross_entropy_from_statistics", [&](auto t) {
    using T = decltype(t);
    from_statistics_kernel<T><<<grid_of(a.R), kBlock, 0, exec.stream>>>(a, is_aligned<T>(a));
    check_launch("cross_entropy_from_statistics");
  });
}

}  // namespace switchyard::kernels
