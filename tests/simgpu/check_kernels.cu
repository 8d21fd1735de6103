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

__global__ void last_block_kernel(float* x, int* counter, float* out, int bug) {
  __shared__ bool last;
  const unsigned t = blockIdx.x * blockDim.x + threadIdx.x;
  x[t] = static_cast<float>(t);
  if (bug != 1) __threadfence();
  if (bug != 2) __syncthreads();
  if (threadIdx.x == 0) last = atomicAdd(counter, 1) == static_cast<int>(gridDim.x) - 1;
  if (bug != 3) __syncthreads();
  if (!last) return;
  __threadfence();
  float sum = 0;
  for (unsigned k = threadIdx.x; k < gridDim.x * blockDim.x; k += blockDim.x) sum += x[k];
  out[threadIdx.x] = sum;
}

__global__ void flag_by_release_kernel(int* data, int* flag, int* seen, int bug) {
  if (blockIdx.x == 0) {
    *data = 7;
    if (bug == 1)
      asm volatile("st.relaxed.gpu.global.s32 [%0], 1;" ::"l"(flag) : "memory");
    else
      asm volatile("st.release.gpu.global.s32 [%0], 1;" ::"l"(flag) : "memory");
  } else {
    int there = 0;
    if (bug == 2)
      asm volatile("ld.relaxed.gpu.global.s32 %0, [%1];" : "=r"(there) : "l"(flag) : "memory");
    else
      asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(there) : "l"(flag) : "memory");
    *seen = there ? *data : -1;
  }
}

__device__ void copy16(void* to, const void* from) {
  const auto shared = static_cast<unsigned>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;\ncp.async.commit_group;\n" ::"r"(shared), "l"(from)
               : "memory");
}

__global__ void async_copy_kernel(const float4* in, float4* out, int bug) {  // 64 threads, one stage of 64 float4
  __shared__ float4 stage[64];
  const unsigned t = threadIdx.x;
  for (unsigned k = 0; k < 3; ++k) {
    copy16(&stage[t], &in[k * 64 + t]);
    if (bug == 4) out[192 + t] = stage[t];
    if (bug != 1) asm volatile("cp.async.wait_group 0;\n" ::: "memory");
    if (bug != 2) __syncthreads();
    out[k * 64 + t] = stage[63 - t];
    if (bug != 3) __syncthreads();
  }
  asm volatile("cp.async.wait_all;\n" ::: "memory");
}

__global__ void async_copy_tail_kernel(const float* in, float* out, int bytes) {
  __shared__ float4 stage[1];
  const auto shared = static_cast<unsigned>(__cvta_generic_to_shared(stage));
  asm volatile(
      "cp.async.ca.shared.global [%0], [%1], 16, %2;\ncp.async.commit_group;\ncp.async.wait_group 0;\n" ::"r"(shared),
      "l"(in), "r"(bytes)
      : "memory");
  reinterpret_cast<float4*>(out)[0] = stage[0];
}

__global__ void named_barrier_kernel(float* out, int bug) {  // warps 0, 1 write for warps 2, 3
  __shared__ float s[64];
  const unsigned t = threadIdx.x;
  if (t < 64) {
    s[t] = static_cast<float>(t);
    asm volatile("bar.arrive 1, 128;" ::: "memory");
  } else {
    if (bug)
      asm volatile("bar.arrive 1, 128;" ::: "memory");
    else
      asm volatile("bar.sync 1, 128;" ::: "memory");
    out[t - 64] = s[t - 64];
  }
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
__global__ void barrier_without_warp_kernel(float* out) {
  if (threadIdx.x >= 32) asm volatile("bar.sync 1, 128;");
  out[threadIdx.x] = 0;
}
__global__ void spin_kernel(int* flag) {
  while (*reinterpret_cast<volatile int*>(flag) == 0) {
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
__global__ void mixed_order_kernel(const float* in, float* out) {
  atomicAdd(out, in[blockIdx.x * blockDim.x + threadIdx.x]);
}

struct Arrays {
  float* pointers[8];
  int counts[8];
};
__global__ void parameters_by_value_kernel(Arrays a) {
  const unsigned k = blockIdx.x;
  for (int i = static_cast<int>(threadIdx.x); i < a.counts[k]; i += static_cast<int>(blockDim.x))
    a.pointers[k][i] = static_cast<float>(k);
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
void last_block(float* x, int* counter, float* out, int blocks, int bug) {
  last_block_kernel<<<static_cast<unsigned>(blocks), 64>>>(x, counter, out, bug);
}
void flag_by_release(int* data, int* flag, int* seen, int bug) {
  flag_by_release_kernel<<<2, 1>>>(data, flag, seen, bug);
}
void async_copy(const float* in, float* out, int bug) {
  async_copy_kernel<<<1, 64>>>(reinterpret_cast<const float4*>(in), reinterpret_cast<float4*>(out), bug);
}
void async_copy_tail(const float* in, float* out, int bytes) { async_copy_tail_kernel<<<1, 1>>>(in, out, bytes); }
void named_barrier(float* out, int bug) { named_barrier_kernel<<<1, 128>>>(out, bug); }
void neighbour_bytes(unsigned char* out) { neighbour_bytes_kernel<<<1, 128>>>(out); }
void many_barriers(int* out, int count, int bug) { many_barriers_kernel<<<1, 64>>>(out, count, bug); }
void uninitialised_shared(float* out) { uninitialised_shared_kernel<<<1, 64>>>(out); }
void out_of_bounds(float* x, int n) { out_of_bounds_kernel<<<1, 1>>>(x, n); }
void misaligned(float* x) { misaligned_kernel<<<1, 1>>>(x); }
void shared_out_of_bounds(float* out, int index) { shared_out_of_bounds_kernel<<<1, 32>>>(out, index); }
void divergent_barrier(float* out) { divergent_barrier_kernel<<<1, 32>>>(out); }
void missing_lane(float* out, int bug) { missing_lane_kernel<<<1, 32>>>(out, bug); }
void barrier_without_warp(float* out) { barrier_without_warp_kernel<<<1, 128>>>(out); }
void spin(int* flag) { spin_kernel<<<1, 1>>>(flag); }
void add_one(float* x, int n, cudaStream_t s) {
  add_one_kernel<<<static_cast<unsigned>((n + 127) / 128), 128, 0, s>>>(x, n);
}
void copy_rows(const float* in, float* out, int n, int stride) {
  copy_rows_kernel<<<1, static_cast<unsigned>(n)>>>(in, out, n, stride);
}
void transpose(const float* in, float* out, int padding) { transpose_kernel<<<1, 32>>>(in, out, padding); }
void mixed_order(const float* in, float* out) { mixed_order_kernel<<<8, 128>>>(in, out); }
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
