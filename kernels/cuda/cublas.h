// cuBLASLt: one check of its statuses, one handle for each thread.
#pragma once

#include <cublasLt.h>

namespace switchyard::kernels::cuda {

// Throws Error(internal), which names the call and the library's words for the status, unless that is success.
void check_cublas(cublasStatus_t status, const char* call);

// Of the calling thread and its device, which must not change once the handle is made.
cublasLtHandle_t cublas_handle();

}  // namespace switchyard::kernels::cuda
