// Kernels with seeded bugs; check_kernels.h says which.
#include "tests/simgpu/check_kernels.h"

namespace simgpu_test {
namespace {

__global__ void shared_exchange_kernel(float* out, int bug) {
  __shared__ float s[64];
  for (int round = 0; round < 2; ++round) {
    s[threadIdx.x] = static_cast<float>(threadIdx.x + round);
    if (bug != 1) __syncthreads();
    out[round * 64 + threadIdx.x] = s[63 - threadIdx.x];
    if (bug != 2) __syncthreads();
  }
}

__global__ void warp_exchange_kernel(float* out, int bug) {
  __shared__ float s[32];
  s[threadIdx.x] = static_cast<float>(threadIdx.x);
  if (bug != 1) __syncwarp();
  out[threadIdx.x] = s[threadIdx.x ^ 1];
}

__global__ void block_counter_kernel(int* counter, int bug) {
  if (threadIdx.x != 0) return;
  if (bug)
    ++*counter;
  else
    atomicAdd(counter, 1);
}

__global__ void slots_kernel(int* counter, int* out, int tag) {
  out[atomicAdd(counter, 1)] = tag + static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
}

__global__ void neighbour_bytes_kernel(unsigned char* out) {
  __shared__ unsigned char s[128];
  s[threadIdx.x] = static_cast<unsigned char>(threadIdx.x);
  out[threadIdx.x] = s[threadIdx.x];
}

__global__ void many_barriers_kernel(int* out, int count, int bug) {
  __shared__ int s[2];
  if (threadIdx.x == 0) s[0] = 1;
  for (int k = 0; k < count; ++k) __syncthreads();
  if (threadIdx.x == 32) out[0] = s[0];
  if (bug && threadIdx.x == 32) s[0] = 2;
  if (bug && threadIdx.x == 0) out[1] = s[0];
}

__global__ void uninitialised_shared_kernel(float* out) {
  __shared__ float s[64];
  if (threadIdx.x < 32) s[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] = s[threadIdx.x];
}

__global__ void out_of_bounds_kernel(float* x, int n) { x[0] = x[n]; }
__global__ void misaligned_kernel(float* x) { *reinterpret_cast<float4*>(x + 1) = make_float4(0, 0, 0, 0); }
__global__ void shared_out_of_bounds_kernel(float* out, int index) {
  __shared__ float s[32];
  s[threadIdx.x] = 0;
  s[index] = 1;
  out[threadIdx.x] = s[threadIdx.x];
}
__global__ void divergent_barrier_kernel(float* out) {
  if (threadIdx.x < 16) __syncthreads();
  out[threadIdx.x] = 0;
}
__global__ void missing_lane_kernel(float* out, int bug) {
  if (bug == 1 && threadIdx.x == 31) return;
  float v = static_cast<float>(threadIdx.x);
  if (bug != 2 || threadIdx.x < 8) v = __shfl_xor_sync(0xffffffffu, v, 1);
  out[threadIdx.x] = v;
}
__global__ void spin_kernel(int* flag) {
  while (atomicAdd(flag, 0) == 0) {
  }
}
__global__ void add_one_kernel(float* x, int n) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) x[i] += 1;
}
__global__ void copy_rows_kernel(const float* in, float* out, int n, int stride) {
  const int i = static_cast<int>(threadIdx.x);
  if (i < n) out[i * stride] = in[i * stride];
}
__global__ void transpose_kernel(const float* in, float* out, int padding) {
  __shared__ float s[32 * 33];
  const unsigned width = 32 + static_cast<unsigned>(padding), x = threadIdx.x;
  for (unsigned y = 0; y < 32; ++y) s[y * width + x] = in[y * 32 + x];
  __syncwarp();
  for (unsigned y = 0; y < 32; ++y) out[y * 32 + x] = s[x * width + y];
}
struct Arrays {
  float* pointers[8];
  int counts[8];
};
__global__ void parameters_by_value_kernel(Arrays a) {
  const bool first = blockIdx.x == 0;
  float* to = first ? a.pointers[0] : a.pointers[1];
  const int count = first ? a.counts[0] : a.counts[1];
  for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x)) to[i] = first ? 0 : 1;
}

extern __shared__ float dynamic[];
__global__ void dynamic_shared_kernel_body(float* out, int floats) {
  __shared__ float fixed[3];
  for (int i = static_cast<int>(threadIdx.x); i < floats; i += static_cast<int>(blockDim.x))
    dynamic[i] = static_cast<float>(i);
  if (threadIdx.x < 3) fixed[threadIdx.x] = 1;
  __syncthreads();
  if (threadIdx.x == 0) out[0] = dynamic[floats - 1] + fixed[2];
}

}  // namespace

void shared_exchange(float* out, int bug, cudaStream_t s) { shared_exchange_kernel<<<1, 64, 0, s>>>(out, bug); }
void warp_exchange(float* out, int bug) { warp_exchange_kernel<<<1, 32>>>(out, bug); }
void block_counter(int* counter, int bug) { block_counter_kernel<<<8, 32>>>(counter, bug); }
void slots(int* counter, int* out, int blocks, int tag, cudaStream_t s) {
  slots_kernel<<<static_cast<unsigned>(blocks), 64, 0, s>>>(counter, out, tag);
}
void neighbour_bytes(unsigned char* out) { neighbour_bytes_kernel<<<1, 128>>>(out); }
void many_barriers(int* out, int count, int bug) { many_barriers_kernel<<<1, 64>>>(out, count, bug); }
void uninitialised_shared(float* out) { uninitialised_shared_kernel<<<1, 64>>>(out); }
void out_of_bounds(float* x, int n) { out_of_bounds_kernel<<<1, 1>>>(x, n); }
void misaligned(float* x) { misaligned_kernel<<<1, 1>>>(x); }
void shared_out_of_bounds(float* out, int index) { shared_out_of_bounds_kernel<<<1, 32>>>(out, index); }
void divergent_barrier(float* out) { divergent_barrier_kernel<<<1, 32>>>(out); }
void missing_lane(float* out, int bug) { missing_lane_kernel<<<1, 32>>>(out, bug); }
void spin(int* flag) { spin_kernel<<<1, 1>>>(flag); }
void add_one(float* x, int n, cudaStream_t s) {
  add_one_kernel<<<static_cast<unsigned>((n + 127) / 128), 128, 0, s>>>(x, n);
}
void copy_rows(const float* in, float* out, int n, int stride) {
  copy_rows_kernel<<<1, static_cast<unsigned>(n)>>>(in, out, n, stride);
}
void transpose(const float* in, float* out, int padding) { transpose_kernel<<<1, 32>>>(in, out, padding); }
void parameters_by_value(float* const* pointers, const int* counts, int n) {
  Arrays a{};
  for (int k = 0; k < n; ++k) {
    a.pointers[k] = pointers[k];
    a.counts[k] = counts[k];
  }
  parameters_by_value_kernel<<<static_cast<unsigned>(n), 32>>>(a);
}
void dynamic_shared(float* out, int floats) {
  dynamic_shared_kernel_body<<<1, 64, static_cast<size_t>(floats) * sizeof(float)>>>(out, floats);
}
const void* dynamic_shared_kernel() { return reinterpret_cast<const void*>(dynamic_shared_kernel_body); }

}  // namespace simgpu_test
