// Shared by the files that define the calls of the CUDA runtime.
#pragma once

#include "tests/simgpu/memory.h"
#include "tests/simgpu/stream.h"

namespace switchyard::simgpu {

// What the genuine runtime refuses: one row for each call and argument, which tests replay.
struct Refusal {
  const char *call, *argument;
  cudaError_t status;
  const char* guide;  // where NVIDIA's documentation says so
};
extern const std::vector<Refusal> refusals;
cudaError_t refuse(const char* call, const char* argument);  // the status of its row, printed with it

cudaError_t usable();                    // devices there are, a driver that is new enough, no fault
cudaError_t finish(cudaError_t status);  // the status of a call, or of a fault; remembered as the thread's last error

template <class F>
cudaError_t call(F body) {  // a call that needs a device: its status
  const std::lock_guard lock(device_mutex());
  const cudaError_t status = usable();
  return finish(status == cudaSuccess ? body() : status);
}

struct Limits {
  int major, minor, shared_per_block;
};
Limits limits();  // of a device of compute capability SIMGPU_CC

}  // namespace switchyard::simgpu
