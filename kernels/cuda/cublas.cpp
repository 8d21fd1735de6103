#include "kernels/cuda/cublas.h"

#include "switchyard/base/cuda_status.h"
#include "switchyard/base/error.h"

#include <cuda_runtime_api.h>

namespace switchyard::kernels::cuda {
namespace {

class Handle {
 public:
  Handle() {
    check_cuda(cudaGetDevice(&device_), "cudaGetDevice");
    check_cublas(cublasLtCreate(&handle_), "cublasLtCreate");
  }
  ~Handle() { cublasLtDestroy(handle_); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  cublasLtHandle_t get() const {
    int device = 0;
    check_cuda(cudaGetDevice(&device), "cudaGetDevice");
    check(device == device_, "cuBLASLt: this thread's handle belongs to device {}, which is now {}", device_, device);
    return handle_;
  }

 private:
  int device_ = 0;
  cublasLtHandle_t handle_ = nullptr;
};

}  // namespace

void check_cublas(cublasStatus_t status, const char* call) {
  require(status == CUBLAS_STATUS_SUCCESS, ExitCode::internal, "cuBLASLt: {}: {} ({})", call,
          cublasLtGetStatusString(status), static_cast<int>(status));
}

cublasLtHandle_t cublas_handle() {
  thread_local const Handle handle;
  return handle.get();
}

}  // namespace switchyard::kernels::cuda
