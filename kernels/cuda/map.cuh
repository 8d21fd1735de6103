// y[i] = f(x[i]...) for every element: thread i takes pack i of 16 bytes, and the first threads the elements behind the
// last pack. Traffic: the operands are read and the result is written once.
#pragma once

#include "kernels/cuda/vector.cuh"

namespace switchyard::kernels::cuda {

template <int N, class F, class... V>
__device__ Values<N> apply(F f, const V&... values) {
  Values<N> result;
#pragma unroll
  for (int j = 0; j < N; ++j) result[j] = f(values[j]...);
  return result;
}

template <int N, class F, class T, class... X>
__global__ void __launch_bounds__(kBlock) map(F f, int64_t count, T* y, const X*... x) {
  const int64_t thread = int64_t{blockIdx.x} * kBlock + threadIdx.x, threads = int64_t{gridDim.x} * kBlock;
  for (int64_t i = thread * N; i + N <= count; i += threads * N) store(y + i, apply<N>(f, load<N>(x + i)...));
  const int64_t i = count / N * N + thread;
  if (i < count) store(y + i, apply<1>(f, load<1>(x + i)...));
}

template <class T, class F, class... X>
void launch_map(exec::Cuda exec, const char* name, F f, int64_t count, void* y, const X*... x) {
  if (count == 0) return;
  on_width<T>(is_wide<T>(0, y, x...), [&](auto n) {
    map<n><<<grid_of(ceil_div(count, kBlock * n)), kBlock, 0, exec.stream>>>(f, count, static_cast<T*>(y),
                                                                             static_cast<const T*>(x)...);
    check_launch(name);
  });
}

}  // namespace switchyard::kernels::cuda
