// Teams of threads that handle a row together: a warp for narrow rows, a block for wide ones. Sums are made in an order
// that depends on the width alone: a thread's elements, the lanes of a warp, the warps of the block.
#pragma once

#include "kernels/cuda/vector.cuh"

namespace switchyard::kernels::cuda {

constexpr int64_t kWarpColumns = 512;  // up to so many columns, a row is a warp's
constexpr unsigned kAllLanes = 0xffffffffu;

__device__ inline int lane_of_warp() { return static_cast<int>(threadIdx.x) % kWarp; }
__device__ inline int warp_of_block() { return static_cast<int>(threadIdx.x) / kWarp; }

// Every lane gets the result, the same bits.
template <class A>
__device__ A warp_sum(A value) {
#pragma unroll
  for (int offset = kWarp / 2; offset > 0; offset /= 2) value += __shfl_xor_sync(kAllLanes, value, offset);
  return value;
}
template <class A>
__device__ A warp_max(A value) {
#pragma unroll
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    const A other = __shfl_xor_sync(kAllLanes, value, offset);
    value = other > value ? other : value;
  }
  return value;
}

// In a block of kBlock threads; all of them must call it. `parts` is shared.
template <class A>
__device__ A block_sum(A value, A (&parts)[kBlock / kWarp]) {
  value = warp_sum(value);
  __syncthreads();  // parts of the sum before have been read
  if (lane_of_warp() == 0) parts[warp_of_block()] = value;
  __syncthreads();
  A sum = parts[0];
#pragma unroll
  for (int i = 1; i < kBlock / kWarp; ++i) sum += parts[i];
  return sum;
}

template <class A>
__device__ A block_max(A value, A (&parts)[kBlock / kWarp]) {
  value = warp_max(value);
  __syncthreads();
  if (lane_of_warp() == 0) parts[warp_of_block()] = value;
  __syncthreads();
  A largest = parts[0];
#pragma unroll
  for (int i = 1; i < kBlock / kWarp; ++i) largest = parts[i] > largest ? parts[i] : largest;
  return largest;
}

// The thread's place in a block of kBlock threads that is cut into teams.
template <int kThreads>
struct Team {
  static constexpr int kTeams = kBlock / kThreads;  // of a block
  static constexpr int kSize = kThreads;
  static_assert(kThreads == kWarp || kThreads == kBlock);

  __device__ static int thread() { return static_cast<int>(threadIdx.x % kThreads); }
  __device__ static int index() { return static_cast<int>(threadIdx.x / kThreads); }
  __device__ static int64_t first_row() { return int64_t{blockIdx.x} * kTeams + index(); }
  __device__ static int64_t row_stride() { return int64_t{gridDim.x} * kTeams; }

  __device__ static void sync() {
    if constexpr (kThreads == kWarp)
      __syncwarp();
    else
      __syncthreads();
  }
  __device__ static float sum(float value) {
    if constexpr (kThreads == kWarp) {
      return warp_sum(value);
    } else {
      __shared__ float parts[kBlock / kWarp];
      return block_sum(value, parts);
    }
  }
};

// body(N, team): elements per access and team for rows of so many columns
template <class T, class Body>
void on_rows(int64_t columns, bool wide, Body&& body) {
  on_width<T>(wide, [&](auto n) {
    if (columns <= kWarpColumns)
      body(n, Team<kWarp>{});
    else
      body(n, Team<kBlock>{});
  });
}

// Blocks that give each of `rows` a team.
template <class TeamOf>
unsigned grid_of_rows(TeamOf, int64_t rows) {
  return grid_of(ceil_div(rows, TeamOf::kTeams));
}

// Blocks of kernels that stage a weight as long as a row before the first of their rows: 16 rows or more share it, so
// that it adds at most a sixteenth to what is read.
constexpr int64_t kStagedRows = 16;
inline unsigned grid_of_staged_rows(int64_t rows) { return grid_of(ceil_div(rows, kStagedRows)); }

}  // namespace switchyard::kernels::cuda
