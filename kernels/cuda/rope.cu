// Rotary position embedding, and back.                     B sequences, S positions, H heads, D head width, R turned
// A thread has one pack of a position's first half of turned dims with its partner in the second, or one pack of the
// rest, in every head: its part of the table is read once. Neighbouring threads have neighbouring packs. Traffic: x is
// read and y is written once; the table is 8 / (H * size of an element) of x.
#include "kernels/rope.h"

#include "kernels/cuda/vector.cuh"

namespace switchyard::kernels {
namespace cuda {
namespace {

template <class T, int N>
__device__ void turn_heads(const RopeArgs& a, const T* x, T* y, int64_t position, int64_t j) {
  const int64_t half = a.R / 2, entry = position * half + j;
  const Values<N> cos = load<N>(static_cast<const float*>(a.cos) + entry);
  Values<N> sin = load<N>(static_cast<const float*>(a.sin) + entry);
#pragma unroll
  for (int i = 0; i < N; ++i) sin[i] = a.is_inverse ? -sin[i] : sin[i];
#pragma unroll 2
  for (int64_t h = 0; h < a.H; ++h) {
    const T* from = x + h * a.x_head + j;
    const Values<N> first = load<N>(from), second = load<N>(from + half);
    Values<N> low, high;
#pragma unroll
    for (int i = 0; i < N; ++i) {
      low[i] = first[i] * cos[i] - second[i] * sin[i];
      high[i] = second[i] * cos[i] + first[i] * sin[i];
    }
    store(y + h * a.D + j, low);
    store(y + h * a.D + j + half, high);
  }
}

template <class T, int N>
__global__ void __launch_bounds__(kBlock, 1) rotate(RopeArgs a) {
  const int64_t pairs = a.R / 2 / N, units = pairs + (a.D - a.R) / N;  // of a position
  const int64_t end = a.B * a.S * units;
  for (int64_t i = int64_t{blockIdx.x} * kBlock + threadIdx.x; i < end; i += int64_t{gridDim.x} * kBlock) {
    const int64_t token = i / units, unit = i - token * units, b = token / a.S, s = token - b * a.S;
    const T* x = static_cast<const T*>(a.x) + b * a.x_batch + s * a.x_position;
    T* y = static_cast<T*>(a.y) + token * a.H * a.D;
    if (unit < pairs) {
      turn_heads<T, N>(a, x, y, s, unit * N);
    } else {
      const int64_t d = a.R + (unit - pairs) * N;
      for (int64_t h = 0; h < a.H; ++h) Pack<T, N>::load(x + h * a.x_head + d).store(y + h * a.D + d);
    }
  }
}

template <class T>
bool is_wide_rope(const RopeArgs& a) {
  for (const int64_t count : {a.R / 2, a.D, a.x_batch, a.x_position, a.x_head})
    if (count % kWide<T> != 0) return false;
  return is_wide<T>(0, a.x, a.y, a.cos, a.sin);
}

}  // namespace
}  // namespace cuda

using namespace cuda;

void rope(exec::Cuda exec, const RopeArgs& a) {
  if (a.B * a.S * a.H * a.D == 0) return;
  on_cuda_type(a.dtype, "rope", [&](auto value) {
    using T = decltype(value);
    on_width<T>(is_wide_rope<T>(a), [&](auto n) {
      const int64_t units = (a.D - a.R / 2) / n;
      rotate<T, n><<<grid_of(ceil_div(a.B * a.S * units, kBlock)), kBlock, 0, exec.stream>>>(a);
      check_launch("rope");
    });
  });
}

}  // namespace switchyard::kernels
