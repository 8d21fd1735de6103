// Statuses of the CUDA runtime become errors in one place. Light enough for nvcc: no formatting in here.
#pragma once

#include <driver_types.h>

namespace switchyard {

// Throws Error(internal), which names `what` and CUDA's own words for the status, unless it is cudaSuccess.
void check_cuda(cudaError_t status, const char* what);

// A kernel was asked for a dtype that it has no CUDA form of: f64 is for the CPU's checks of gradients.
[[noreturn]] void fail_no_cuda_kernel(const char* kernel, const char* dtype);

}  // namespace switchyard
