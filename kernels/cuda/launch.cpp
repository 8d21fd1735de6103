// What launchers ask of the CUDA runtime beside the launch itself: one call each.
#include "kernels/cuda/launch.cuh"

namespace switchyard::kernels::cuda {

void allow_shared(const void* kernel, int64_t bytes) {
  if (bytes <= kDefaultShared) return;
  check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
             "shared memory of a kernel");
}

void check_launch(const char* kernel) { check_cuda(cudaGetLastError(), kernel); }

void set_zero(exec::Cuda exec, void* data, int64_t bytes, const char* kernel) {
  if (bytes <= 0) return;
  check_cuda(cudaMemsetAsync(data, 0, static_cast<size_t>(bytes), exec.stream), kernel);
}

}  // namespace switchyard::kernels::cuda
