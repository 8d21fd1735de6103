// Compiled only where CUDA is built, as all that lies in a folder `cuda`.
#include "switchyard/base/cuda_status.h"

#include "switchyard/base/error.h"

#include <cuda_runtime_api.h>

namespace switchyard {

void fail_cuda(cudaError_t status, const char* what) {
  fail(ExitCode::internal, "CUDA: {}: {} ({})", what, cudaGetErrorString(status), cudaGetErrorName(status));
}

void check_cuda(cudaError_t status, const char* what) {
  if (status != cudaSuccess) fail_cuda(status, what);
}

void refuse_on_cuda(const char* kernel, const char* why) { fail(ExitCode::usage, "{} on CUDA: {}", kernel, why); }

}  // namespace switchyard
