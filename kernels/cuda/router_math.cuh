// Row-wise pieces shared by the router's kernels. A warp handles a row of E logits, which it copies to shared memory:
// lane l owns the elements l, l + 32, ... and needs no barrier for them. Logits are f32.
#pragma once

#include "kernels/cuda/math.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/router.h"

namespace switchyard::kernels::cuda {

constexpr int64_t kMostExperts = 1024;
constexpr int kRouterWarps = kBlock / kWarp;
constexpr float kSmallestSum = 1e-20f;  // as the CPU's
constexpr float kInfinity = __builtin_huge_valf();

// Warps of a grid take rows in turn.
__device__ inline int64_t first_warp_row() { return int64_t{blockIdx.x} * kRouterWarps + warp_of_block(); }
__device__ inline int64_t warp_row_stride() { return int64_t{gridDim.x} * kRouterWarps; }
inline unsigned grid_of_warp_rows(int64_t rows) { return grid_of(ceil_div(rows, kRouterWarps)); }

template <class Body>
__device__ void for_own(int count, Body&& body) {
  for (int i = lane_of_warp(); i < count; i += kWarp) body(i);
}

__device__ inline void copy_row(const float* from, float* to, int E) {
  for_own(E, [&](int e) { to[e] = from[e]; });
}
__device__ inline bool is_finite_row(const float* z, int E) {
  bool is_finite = true;
  for_own(E, [&](int e) { is_finite = is_finite && isfinite(z[e]); });
  return __all_sync(kAllLanes, is_finite);
}
// -infinity of no elements; a NaN is passed over, and shows in the sum of exponentials.
__device__ inline float row_max(const float* z, int E) {
  float largest = -kInfinity;
  for_own(E, [&](int e) { largest = z[e] > largest ? z[e] : largest; });
  return warp_max(largest);
}
__device__ inline float row_sum_exp(const float* z, float largest, int E) {
  float sum = 0;
  for_own(E, [&](int e) { sum += expf(z[e] - largest); });
  return warp_sum(sum);
}

inline void check_router(const char* kernel, DType dtype, int64_t E) {
  if (dtype != DType::f32) refuse_on_cuda(kernel, "logits must be f32");
  if (E > kMostExperts) refuse_on_cuda(kernel, "more than 1024 experts");
}

// Launches a kernel whose warps keep `rows` rows of E floats each.
template <class... Params, class... Args>
void launch_rows(exec::Cuda exec, const char* name, void (*kernel)(Params...), int64_t T, int64_t E, int rows,
                 const Args&... args) {
  if (T == 0) return;
  const int64_t bytes = kRouterWarps * rows * E * int64_t{sizeof(float)};
  allow_shared(kernel, bytes);
  kernel<<<grid_of_warp_rows(T), kBlock, bytes, exec.stream>>>(args...);
  check_launch(name);
}

}  // namespace switchyard::kernels::cuda
