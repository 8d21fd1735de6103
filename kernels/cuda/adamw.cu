// AdamW and the sum of squares, each over a list of flat ranges. A block takes a chunk of 16,384 elements and finds its
// range by bisection; its threads take packs of 4 elements, or single ones where a range is not aligned. Sums of chunks
// are made and added in f64, in an order that depends on the list alone. Traffic: AdamW reads master, gradient and
// both moments and writes master, moments and the bf16 weight, 28 or 30 bytes an element; the sum reads 4.
#include "kernels/adamw.h"

#include "kernels/cuda/sums.cuh"

#include <cmath>

namespace switchyard::kernels {
namespace cuda {
namespace {

constexpr int kPack = kWide<float>;

// The last range whose chunks begin at or before this one: those without elements have the number of the next.
template <class Range>
__device__ Range range_of(const Range* ranges, int64_t num_ranges, int64_t chunk) {
  int64_t low = 0, high = num_ranges;
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    (ranges[middle].first_chunk <= chunk ? low : high) = middle;
  }
  return ranges[low];
}

// body(N, i) for the elements of a chunk that this thread handles: packs at i, then single ones.
template <class Body>
__device__ void for_each_pack(int64_t begin, int64_t end, bool wide, Body&& body) {
  const int64_t packs_end = wide ? begin + (end - begin) / kPack * kPack : begin;
  for (int64_t i = begin + threadIdx.x * kPack; i < packs_end; i += kBlock * kPack)
    body(std::integral_constant<int, kPack>{}, i);
  for (int64_t i = packs_end + threadIdx.x; i < end; i += kBlock) body(std::integral_constant<int, 1>{}, i);
}

template <class... Pointers>
__device__ bool is_aligned(const Pointers*... pointers) {
  return ((reinterpret_cast<uintptr_t>(pointers) % 16 == 0) && ...);
}

struct Step {
  float rate, correction, eps, one_beta1, beta2, one_beta2;
  double lr;
};

template <int N>
__device__ void update(const AdamWRange& r, const Step& s, float decay, float scale, int64_t i) {
  float *master = static_cast<float*>(r.master) + i, *exp_avg = static_cast<float*>(r.exp_avg) + i;
  float* exp_avg_sq = static_cast<float*>(r.exp_avg_sq) + i;
  Values<N> w = load<N>(master), m = load<N>(exp_avg), v = load<N>(exp_avg_sq);
  const Values<N> grad = load<N>(static_cast<const float*>(r.grad) + i);
#pragma unroll
  for (int j = 0; j < N; ++j) {
    const float g = grad[j] * scale;
    m[j] += s.one_beta1 * (g - m[j]);
    v[j] = s.beta2 * v[j] + s.one_beta2 * g * g;
    w[j] = w[j] * decay - s.rate * m[j] / (sqrtf(v[j]) * s.correction + s.eps);
  }
  store(master, w);
  store(exp_avg, m);
  store(exp_avg_sq, v);
  if (r.weights) store(r.weights + i, w);
}

__global__ void __launch_bounds__(kBlock) adamw_chunks(AdamWArgs a, Step step) {
  const double scale = *a.grad_scale;
  if (!isfinite(scale)) return;
  for (int64_t chunk = blockIdx.x; chunk < a.num_chunks; chunk += gridDim.x) {
    const AdamWRange r = range_of(a.ranges, a.num_ranges, chunk);
    const auto decay = static_cast<float>(1 - step.lr * r.weight_decay);
    const int64_t begin = (chunk - r.first_chunk) * kRangeChunk, end = min(r.n, begin + kRangeChunk);
    const bool wide = is_aligned(r.master, r.grad, r.exp_avg, r.exp_avg_sq, r.weights);
    for_each_pack(begin, end, wide,
                  [&](auto n, int64_t i) { update<decltype(n)::value>(r, step, decay, static_cast<float>(scale), i); });
  }
}

__global__ void __launch_bounds__(kBlock) square_chunks(SumOfSquaresArgs a) {
  __shared__ double parts[kBlock / kWarp];
  for (int64_t chunk = blockIdx.x; chunk < a.num_chunks; chunk += gridDim.x) {
    const SquaresRange r = range_of(a.ranges, a.num_ranges, chunk);
    const auto* x = static_cast<const float*>(r.x);
    const int64_t begin = (chunk - r.first_chunk) * kRangeChunk, end = min(r.n, begin + kRangeChunk);
    double sum = 0;
    for_each_pack(begin, end, is_aligned(x), [&](auto n, int64_t i) {
      constexpr int N = decltype(n)::value;
      const Values<N> values = load<N>(x + i);
#pragma unroll
      for (int j = 0; j < N; ++j) sum += static_cast<double>(values[j]) * static_cast<double>(values[j]);
    });
    sum = block_sum(sum, parts);
    if (threadIdx.x == 0) a.chunks[chunk] = sum;
  }
}

__global__ void __launch_bounds__(kBlock) add_chunks(SumOfSquaresArgs a) {
  const double sum = sum_of_chunks(a.chunks, a.num_chunks);
  if (threadIdx.x == 0) *a.sum = sum;
}

}  // namespace
}  // namespace cuda

using namespace cuda;

void adamw(exec::Cuda exec, const AdamWArgs& a) {
  check_f32(a.dtype, "adamw");
  if (a.num_chunks == 0) return;
  const auto t = static_cast<double>(a.t);
  const Step step{.rate = static_cast<float>(a.lr / (1 - std::pow(a.beta1, t))),
                  .correction = static_cast<float>(1 / std::sqrt(1 - std::pow(a.beta2, t))),
                  .eps = static_cast<float>(a.eps),
                  .one_beta1 = static_cast<float>(1 - a.beta1),
                  .beta2 = static_cast<float>(a.beta2),
                  .one_beta2 = static_cast<float>(1 - a.beta2),
                  .lr = a.lr};
  adamw_chunks<<<grid_of(a.num_chunks), kBlock, 0, exec.stream>>>(a, step);
  check_launch("adamw");
}

void sum_of_squares(exec::Cuda exec, const SumOfSquaresArgs& a) {
  check_f32(a.dtype, "sum_of_squares");
  if (a.num_chunks > 0) {
    square_chunks<<<grid_of(a.num_chunks), kBlock, 0, exec.stream>>>(a);
    check_launch("sum_of_squares");
  }
  add_chunks<<<1, kBlock, 0, exec.stream>>>(a);
  check_launch("sum_of_squares");
}

}  // namespace switchyard::kernels
