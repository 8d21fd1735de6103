// What the genuine runtime refuses, and the stand-in therefore too. Sections are those of the CUDA Runtime API
// guide 13.0 (API) and of the CUDA C++ Programming Guide 13.0 (PG).
#include <cstring>

#include "tests/simgpu/runtime.h"

namespace switchyard::simgpu {

const std::vector<Refusal> refusals = {
    {"any", "no device", cudaErrorNoDevice, "API 6.1"},
    {"any", "driver older than the runtime", cudaErrorInsufficientDriver, "API 6.34"},
    {"any", "no image for the device", cudaErrorNoKernelImageForDevice, "API 6.34"},
    {"any", "stream", cudaErrorInvalidResourceHandle, "API 6.4"},
    {"any", "event", cudaErrorInvalidResourceHandle, "API 6.5"},
    {"cudaSetDevice", "device", cudaErrorInvalidDevice, "API 6.1"},
    {"cudaGetDeviceProperties", "device", cudaErrorInvalidDevice, "API 6.1"},
    {"cudaMalloc", "null pointer", cudaErrorInvalidValue, "API 6.9"},
    {"cudaMalloc", "more than is free", cudaErrorMemoryAllocation, "API 6.9"},
    {"cudaMallocHost", "null pointer", cudaErrorInvalidValue, "API 6.9"},
    {"cudaMallocHost", "more than is free", cudaErrorMemoryAllocation, "API 6.9"},
    {"cudaFree", "not allocated so, or freed", cudaErrorInvalidValue, "API 6.9"},
    {"cudaFreeHost", "not allocated so, or freed", cudaErrorInvalidValue, "API 6.9"},
    {"cudaMemcpy", "direction", cudaErrorInvalidMemcpyDirection, "API 6.9"},
    {"cudaMemcpy", "range", cudaErrorInvalidValue, "API 6.9"},
    {"cudaMemset", "range", cudaErrorInvalidValue, "API 6.9"},
    {"cudaStreamCreateWithFlags", "flags", cudaErrorInvalidValue, "API 6.4"},
    {"cudaEventCreateWithFlags", "flags", cudaErrorInvalidValue, "API 6.5"},
    {"cudaEventElapsedTime", "event without timing or record", cudaErrorInvalidResourceHandle, "API 6.5"},
    {"cudaLaunchKernel", "function", cudaErrorInvalidDeviceFunction, "API 6.7"},
    {"cudaLaunchKernel", "block of no or more than 1024 threads", cudaErrorInvalidConfiguration, "PG 16.2"},
    {"cudaLaunchKernel", "block dimension", cudaErrorInvalidConfiguration, "PG 16.2"},
    {"cudaLaunchKernel", "grid dimension", cudaErrorInvalidConfiguration, "PG 16.2"},
    {"cudaLaunchKernel", "more threads than __launch_bounds__", cudaErrorLaunchOutOfResources, "PG 10.38"},
    {"cudaLaunchKernel", "dynamic shared memory beyond the attribute", cudaErrorInvalidValue, "PG 16.2; API 6.7"},
    {"cudaFuncSetAttribute", "function", cudaErrorInvalidDeviceFunction, "API 6.7"},
    {"cudaFuncSetAttribute", "attribute", cudaErrorInvalidValue, "API 6.7"},
    {"cudaFuncSetAttribute", "more shared memory than a block can have", cudaErrorInvalidValue, "API 6.7"},
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
