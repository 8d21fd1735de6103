// Devices, versions and the status of calls.
#include <cstring>
#include <utility>

#include "tests/simgpu/runtime.h"

namespace switchyard::simgpu {
namespace {

thread_local cudaError_t last_error = cudaSuccess;
int current_device = 0;

struct ErrorText {
  cudaError_t status;
  const char *name, *text;
};
#define ERROR(status, text) \
  { status, #status, text }
constexpr ErrorText kErrors[] = {
    ERROR(cudaSuccess, "no error"),
    ERROR(cudaErrorInvalidValue, "invalid argument"),
    ERROR(cudaErrorMemoryAllocation, "out of memory"),
    ERROR(cudaErrorInvalidConfiguration, "invalid configuration argument"),
    ERROR(cudaErrorInvalidMemcpyDirection, "invalid copy direction for memcpy"),
    ERROR(cudaErrorInsufficientDriver, "CUDA driver version is insufficient for CUDA runtime version"),
    ERROR(cudaErrorInvalidDeviceFunction, "invalid device function"),
    ERROR(cudaErrorNoDevice, "no CUDA-capable device is detected"),
    ERROR(cudaErrorInvalidDevice, "invalid device ordinal"),
    ERROR(cudaErrorInvalidKernelImage, "device kernel image is invalid"),
    ERROR(cudaErrorNoKernelImageForDevice, "no kernel image is available for execution on the device"),
    ERROR(cudaErrorInvalidPtx, "a PTX JIT compilation failed"),
    ERROR(cudaErrorInvalidResourceHandle, "invalid resource handle"),
    ERROR(cudaErrorSymbolNotFound, "named symbol not found"),
    ERROR(cudaErrorNotReady, "device not ready"),
    ERROR(cudaErrorIllegalAddress, "an illegal memory access was encountered"),
    ERROR(cudaErrorLaunchOutOfResources, "too many resources requested for launch"),
    ERROR(cudaErrorLaunchTimeout, "the launch timed out and was terminated"),
    ERROR(cudaErrorMisalignedAddress, "misaligned address"),
    ERROR(cudaErrorLaunchFailure, "unspecified launch failure"),
    ERROR(cudaErrorNotSupported, "operation not supported"),
    ERROR(cudaErrorUnknown, "unknown error"),
};
ErrorText find_error(cudaError_t status) {
  for (const ErrorText& e : kErrors)
    if (e.status == status) return e;
  return {status, "unrecognized error code", "unrecognized error code"};
}

int device_count() { return static_cast<int>(setting("DEVICES", 8)); }
int driver_version() { return static_cast<int>(setting("DRIVER", CUDART_VERSION)); }

}  // namespace

cudaError_t finish(cudaError_t status) {
  const cudaError_t sticky = Scheduler::get().sticky();
  if (sticky != cudaSuccess) status = sticky;
  if (status != cudaSuccess && status != cudaErrorNotReady) last_error = status;
  return status;
}

cudaError_t usable() {
  if (driver_version() / 1000 < CUDART_VERSION / 1000) return refuse("any", "driver older than the runtime");
  return device_count() == 0 ? refuse("any", "no device") : Scheduler::get().sticky();
}

Limits limits() {
  std::string text = setting_text("CC");
  if (text.empty()) text = "9.0";
  Limits l{};
  if (std::sscanf(text.c_str(), "%d.%d", &l.major, &l.minor) != 2 || l.major < 7) {
    fmt::print(stderr, "simgpu: SIMGPU_CC={} is no compute capability such as 9.0\n", text);
    std::_Exit(64);
  }
  l.shared_per_block = (l.major > 8 ? 227 : l.minor == 0 ? 163 : 99) * 1024;
  return l;
}

}  // namespace switchyard::simgpu

using namespace switchyard::simgpu;

SIMGPU_API cudaError_t cudaGetLastError() {
  const std::lock_guard lock(device_mutex());
  const cudaError_t sticky = Scheduler::get().sticky(), error = std::exchange(last_error, cudaSuccess);
  return sticky != cudaSuccess ? sticky : error;
}
SIMGPU_API const char* cudaGetErrorString(cudaError_t status) { return find_error(status).text; }
SIMGPU_API const char* cudaGetErrorName(cudaError_t status) { return find_error(status).name; }
SIMGPU_API cudaError_t cudaDriverGetVersion(int* version) { return *version = driver_version(), cudaSuccess; }
SIMGPU_API cudaError_t cudaRuntimeGetVersion(int* version) { return *version = CUDART_VERSION, cudaSuccess; }

SIMGPU_API cudaError_t cudaGetDeviceCount(int* count) {
  *count = 0;
  return call([&] { return *count = device_count(), cudaSuccess; });
}
SIMGPU_API cudaError_t cudaGetDevice(int* device) {
  return call([&] { return *device = current_device, cudaSuccess; });
}
// A process has one device here: what it allocates lies on the one that it chose first.
SIMGPU_API cudaError_t cudaSetDevice(int device) {
  return call([&] {
    if (device < 0 || device >= device_count()) return refuse("cudaSetDevice", "device");
    if (device != current_device && Journal::get().counters["allocations"] > 0) {
      report("not simulated", "cudaSetDevice", "a second device in one process");
      return cudaErrorNotSupported;
    }
    current_device = device;
    return cudaSuccess;
  });
}

SIMGPU_API cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device) {
  return call([&] {
    if (device < 0 || device >= device_count()) return refuse("cudaGetDeviceProperties", "device");
    const Limits l = limits();
    *p = {};
    std::strcpy(p->name, "Simulated GPU");
    p->totalGlobalMem = Memory::limit();
    p->sharedMemPerBlock = 48 * 1024;
    p->sharedMemPerBlockOptin = static_cast<size_t>(l.shared_per_block);
    p->regsPerBlock = p->regsPerMultiprocessor = 65536;
    p->warpSize = 32;
    p->maxThreadsPerBlock = 1024;
    p->maxThreadsPerMultiProcessor = 2048;
    p->multiProcessorCount = 132;
    p->major = l.major;
    p->minor = l.minor;
    p->pciBusID = device + static_cast<int>(setting("BUS", 1));
    return cudaSuccess;
  });
}
