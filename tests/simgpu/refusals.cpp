// What the genuine runtime refuses, and the stand-in therefore too. Sections are those of the CUDA Runtime API
// guide 13.0 (API) and of the CUDA C++ Programming Guide 13.0 (PG).
#include <cstring>

#include "tests/simgpu/runtime.h"

namespace switchyard::simgpu {

const std::vector<Refusal> refusals = {
    {"any", "no device", cudaErrorNoDevice, "API 6.1 cudaGetDeviceCount"},
    {"any", "driver older than the runtime", cudaErrorInsufficientDriver, "API 6.34 cudaErrorInsufficientDriver"},
    {"any", "no image for the device", cudaErrorNoKernelImageForDevice, "API 6.34 cudaErrorNoKernelImageForDevice"},
    {"any", "stream", cudaErrorInvalidResourceHandle, "API 6.4 Stream Management"},
    {"any", "event", cudaErrorInvalidResourceHandle, "API 6.5 Event Management"},
    {"cudaSetDevice", "device", cudaErrorInvalidDevice, "API 6.1 cudaSetDevice"},
    {"cudaGetDeviceProperties", "device", cudaErrorInvalidDevice, "API 6.1 cudaGetDeviceProperties"},
    {"cudaMalloc", "null pointer", cudaErrorInvalidValue, "API 6.9 cudaMalloc"},
    {"cudaMalloc", "more than is free", cudaErrorMemoryAllocation, "API 6.9 cudaMalloc"},
    {"cudaMallocHost", "null pointer", cudaErrorInvalidValue, "API 6.9 cudaMallocHost"},
    {"cudaMallocHost", "more than is free", cudaErrorMemoryAllocation, "API 6.9 cudaMallocHost"},
    {"cudaFree", "not allocated so, or freed", cudaErrorInvalidValue, "API 6.9 cudaFree"},
    {"cudaFreeHost", "not allocated so, or freed", cudaErrorInvalidValue, "API 6.9 cudaFreeHost"},
    {"cudaMemcpy", "direction", cudaErrorInvalidMemcpyDirection, "API 6.9 cudaMemcpy"},
    {"cudaMemcpy", "range", cudaErrorInvalidValue, "API 6.9 cudaMemcpy"},
    {"cudaMemset", "range", cudaErrorInvalidValue, "API 6.9 cudaMemset"},
    {"cudaStreamCreateWithFlags", "flags", cudaErrorInvalidValue, "API 6.4 cudaStreamCreateWithFlags"},
    {"cudaEventCreateWithFlags", "flags", cudaErrorInvalidValue, "API 6.5 cudaEventCreateWithFlags"},
    {"cudaEventElapsedTime", "event without timing or record", cudaErrorInvalidResourceHandle,
     "API 6.5 cudaEventElapsedTime"},
    {"cudaLaunchKernel", "function", cudaErrorInvalidDeviceFunction, "API 6.7 cudaLaunchKernel"},
    {"cudaLaunchKernel", "block of no or more than 1024 threads", cudaErrorInvalidConfiguration,
     "PG 16.2 Technical Specifications"},
    {"cudaLaunchKernel", "block dimension", cudaErrorInvalidConfiguration, "PG 16.2 Technical Specifications"},
    {"cudaLaunchKernel", "grid dimension", cudaErrorInvalidConfiguration, "PG 16.2 Technical Specifications"},
    {"cudaLaunchKernel", "more threads than __launch_bounds__", cudaErrorLaunchOutOfResources,
     "PG 10.38 Launch Bounds"},
    {"cudaLaunchKernel", "dynamic shared memory beyond the attribute", cudaErrorInvalidValue,
     "PG 16.2; API 6.7 cudaFuncSetAttribute"},
    {"cudaFuncSetAttribute", "function", cudaErrorInvalidDeviceFunction, "API 6.7 cudaFuncSetAttribute"},
    {"cudaFuncSetAttribute", "attribute", cudaErrorInvalidValue, "API 6.7 cudaFuncSetAttribute"},
    {"cudaFuncSetAttribute", "more shared memory than a block can have", cudaErrorInvalidValue,
     "API 6.7 cudaFuncSetAttribute"},
};

cudaError_t refuse(const char* call, const char* argument) {
  for (const Refusal& r : refusals) {
    if (std::strcmp(r.call, call) != 0 || std::strcmp(r.argument, argument) != 0) continue;
    fmt::print(stderr, "simgpu: {}: {}: refused ({})\n", r.call, r.argument, r.guide);
    return r.status;
  }
  throw Fault(cudaErrorUnknown, fmt::format("simgpu: no row for {}: {} in the table of refusals", call, argument));
}

}  // namespace switchyard::simgpu
