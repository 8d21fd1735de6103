// What kernels share that keep sums of chunks in f64.
#pragma once

#include "kernels/cuda/reduce.cuh"

namespace switchyard::kernels::cuda {

// Of x (n), by a block: in an order that depends on n alone.
__device__ inline double sum_of_chunks(const double* x, int64_t n) {
  __shared__ double parts[kBlock / kWarp];
  double sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += kBlock) sum += x[i];
  return block_sum(sum, parts);
}

// Kernels that compute in f32 alone, whatever the dtype of weights is.
inline void check_f32(DType dtype, const char* kernel) {
  if (dtype != DType::f32) refuse_on_cuda(kernel, dtype == DType::f64 ? "f64 is for proofs on the CPU" : "gradients are f32 there");
}

}  // namespace switchyard::kernels::cuda
