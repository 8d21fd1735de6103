// Statuses of the CUDA runtime become errors in one place. Light enough for nvcc: no formatting in here.
#pragma once

#include <driver_types.h>

namespace switchyard {

// Throws Error(internal), which names `what` and CUDA's own words for the status, unless it is cudaSuccess.
void check_cuda(cudaError_t status, const char* what);

// The same where it is known to be another.
[[noreturn]] void fail_cuda(cudaError_t status, const char* what);

// "kernel on CUDA: why": of an argument that only the CPU's kernel takes.
[[noreturn]] void refuse_on_cuda(const char* kernel, const char* why);

}  // namespace switchyard
