// Shared by the files that define the calls of the CUDA runtime: their status, what they refuse, and the kernels that
// the program has registered.
#pragma once

#include <fatbinary_section.h>

#include <memory>
#include <string>

#include "tests/simgpu/memory.h"
#include "tests/simgpu/stream.h"

#define SIMGPU_API extern "C" SIMGPU_EXPORT

namespace switchyard::simgpu {

// Why a call is refused: its row in the table of refusals.cpp, which tests replay.
struct Refusal {
  const char* call;
  const char* argument;
  cudaError_t status;
  const char* guide;  // where NVIDIA's documentation says so
};
const std::vector<Refusal>& refusals();
// Looks the row up (there must be one), prints it, and makes its status the thread's last error.
cudaError_t refuse(const char* call, const char* argument);

// The status of a call: the sticky one if there is one, else this; remembered as the thread's last error.
cudaError_t finish(cudaError_t status);
// Devices there are, a driver that is new enough, no sticky error: asked first by each call that needs a device.
cudaError_t usable();

struct Limits {  // of a device of this compute capability
  int major, minor;
  int shared_per_block_optin, shared_per_multiprocessor;
  int code() const { return 10 * major + minor; }
};
Limits limits();

std::string ptx_of(const void* fat_binary, int compute_capability);  // throws Fault

}  // namespace switchyard::simgpu
