#include "tests/cuda/counterexamples.h"

#include "switchyard/base/cuda_status.h"

namespace switchyard::test {
namespace {

constexpr int kThreads = 128;

__global__ void copy_down_columns(const float* x, float* y, int64_t rows, int64_t columns) {
  const int64_t row = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (row >= rows) return;
  for (int64_t c = 0; c < columns; ++c) y[row * columns + c] = x[row * columns + c];
}

__global__ void take_next_place(int32_t* counter, int32_t* places, int64_t count) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < count) places[i] = atomicAdd(counter, 1);
}

unsigned blocks_of(int64_t threads) { return static_cast<unsigned>((threads + kThreads - 1) / kThreads); }

}  // namespace

void copy_strided(const float* x, float* y, int64_t rows, int64_t columns) {
  copy_down_columns<<<blocks_of(rows), kThreads>>>(x, y, rows, columns);
  check_cuda(cudaGetLastError(), "copy_strided");
}

void take_places(cudaStream_t stream, int32_t* counter, int32_t* places, int64_t count) {
  take_next_place<<<blocks_of(count), kThreads, 0, stream>>>(counter, places, count);
  check_cuda(cudaGetLastError(), "take_places");
}

}  // namespace switchyard::test
