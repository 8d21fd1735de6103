// Devices, versions and the status of calls.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/simgpu/launch.h"
#include "tests/simgpu/runtime.h"

namespace switchyard::simgpu {
namespace {

thread_local cudaError_t last_error = cudaSuccess;
int current_device = 0;

struct ErrorText {
  cudaError_t status;
  const char *name, *text;
};
constexpr ErrorText kErrors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorInvalidMemcpyDirection, "cudaErrorInvalidMemcpyDirection", "invalid copy direction for memcpy"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
     "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorInvalidDeviceFunction, "cudaErrorInvalidDeviceFunction", "invalid device function"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidKernelImage, "cudaErrorInvalidKernelImage", "device kernel image is invalid"},
    {cudaErrorNoKernelImageForDevice, "cudaErrorNoKernelImageForDevice",
     "no kernel image is available for execution on the device"},
    {cudaErrorInvalidPtx, "cudaErrorInvalidPtx", "a PTX JIT compilation failed"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorSymbolNotFound, "cudaErrorSymbolNotFound", "named symbol not found"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    {cudaErrorLaunchOutOfResources, "cudaErrorLaunchOutOfResources", "too many resources requested for launch"},
    {cudaErrorLaunchTimeout, "cudaErrorLaunchTimeout", "the launch timed out and was terminated"},
    {cudaErrorMisalignedAddress, "cudaErrorMisalignedAddress", "misaligned address"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
    {cudaErrorUnknown, "cudaErrorUnknown", "unknown error"},
};

const ErrorText* find_error(cudaError_t status) {
  for (const ErrorText& e : kErrors) {
    if (e.status == status) return &e;
  }
  return nullptr;
}

int device_count() { return static_cast<int>(setting("DEVICES", 8)); }
int driver_version() { return static_cast<int>(setting("DRIVER", CUDART_VERSION)); }

struct Attribute {
  cudaDeviceAttr attribute;
  int value;
};

std::vector<Attribute> attributes() {
  const Limits l = limits();
  return {{cudaDevAttrMaxThreadsPerBlock, 1024},
          {cudaDevAttrMaxBlockDimX, 1024},
          {cudaDevAttrMaxBlockDimY, 1024},
          {cudaDevAttrMaxBlockDimZ, 64},
          {cudaDevAttrMaxGridDimX, 0x7fffffff},
          {cudaDevAttrMaxGridDimY, 65535},
          {cudaDevAttrMaxGridDimZ, 65535},
          {cudaDevAttrMaxSharedMemoryPerBlock, 48 * 1024},
          {cudaDevAttrMaxSharedMemoryPerBlockOptin, l.shared_per_block_optin},
          {cudaDevAttrMaxSharedMemoryPerMultiprocessor, l.shared_per_multiprocessor},
          {cudaDevAttrWarpSize, 32},
          {cudaDevAttrMaxRegistersPerBlock, 65536},
          {cudaDevAttrMaxRegistersPerMultiprocessor, 65536},
          {cudaDevAttrMultiProcessorCount, 132},
          {cudaDevAttrMaxThreadsPerMultiProcessor, 2048},
          {cudaDevAttrComputeCapabilityMajor, l.major},
          {cudaDevAttrComputeCapabilityMinor, l.minor},
          {cudaDevAttrL2CacheSize, 50 << 20},
          {cudaDevAttrUnifiedAddressing, 1},
          {cudaDevAttrConcurrentKernels, 1},
          {cudaDevAttrMemoryPoolsSupported, 0},
          {cudaDevAttrCooperativeLaunch, 0},
          {cudaDevAttrManagedMemory, 0},
          {cudaDevAttrEccEnabled, 1},
          {cudaDevAttrIntegrated, 0},
          {cudaDevAttrAsyncEngineCount, 3}};
}

}  // namespace

cudaError_t finish(cudaError_t status) {
  const cudaError_t sticky = Scheduler::get().sticky();
  if (sticky != cudaSuccess) status = sticky;
  if (status != cudaSuccess && status != cudaErrorNotReady) last_error = status;
  return status;
}

cudaError_t usable() {
  const std::lock_guard lock(device_mutex());
  if (driver_version() / 1000 < CUDART_VERSION / 1000) return refuse("any", "driver older than the runtime");
  if (device_count() == 0) return refuse("any", "no device");
  return Scheduler::get().sticky();
}

Limits limits() {
  const char* text = std::getenv("SIMGPU_CC");
  int major = 9, minor = 0;
  if (text && (std::sscanf(text, "%d.%d", &major, &minor) != 2 || major < 8)) {
    std::fprintf(stderr, "simgpu: SIMGPU_CC=%s is no compute capability such as 9.0\n", text);
    std::_Exit(64);
  }
  const bool small = major == 8;
  return {major, minor, (small ? (minor == 0 ? 163 : 99) : 227) * 1024,
          (small ? (minor == 0 ? 164 : 100) : 228) * 1024};
}

}  // namespace switchyard::simgpu

using namespace switchyard::simgpu;

SIMGPU_API cudaError_t cudaGetLastError() {
  const std::lock_guard lock(device_mutex());
  const cudaError_t error = cudaPeekAtLastError();
  last_error = cudaSuccess;
  return error;
}
SIMGPU_API cudaError_t cudaPeekAtLastError() {
  const std::lock_guard lock(device_mutex());
  const cudaError_t sticky = Scheduler::get().sticky();
  return sticky != cudaSuccess ? sticky : last_error;
}
SIMGPU_API const char* cudaGetErrorString(cudaError_t status) {
  const ErrorText* e = find_error(status);
  return e ? e->text : "unrecognized error code";
}
SIMGPU_API const char* cudaGetErrorName(cudaError_t status) {
  const ErrorText* e = find_error(status);
  return e ? e->name : "unrecognized error code";
}
SIMGPU_API cudaError_t cudaDriverGetVersion(int* version) {
  *version = driver_version();
  return cudaSuccess;
}
SIMGPU_API cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

SIMGPU_API cudaError_t cudaGetDeviceCount(int* count) {
  *count = 0;
  if (const cudaError_t error = usable(); error != cudaSuccess) return error;
  *count = device_count();
  return cudaSuccess;
}
SIMGPU_API cudaError_t cudaGetDevice(int* device) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return error;
  *device = current_device;
  return cudaSuccess;
}
// A process has one device here: what it allocates lies on the one that it chose first.
SIMGPU_API cudaError_t cudaSetDevice(int device) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return error;
  const std::lock_guard lock(device_mutex());
  if (device < 0 || device >= device_count()) return refuse("cudaSetDevice", "device");
  if (device != current_device && Journal::get().counters.allocations > 0) {
    report("not simulated", "cudaSetDevice", "a second device in one process");
    return finish(cudaErrorNotSupported);
  }
  current_device = device;
  return cudaSuccess;
}

SIMGPU_API cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return error;
  if (device < 0 || device >= device_count()) return refuse("cudaGetDeviceProperties", "device");
  const Limits l = limits();
  std::memset(p, 0, sizeof *p);
  std::snprintf(p->name, sizeof p->name, "Simulated GPU %d.%d", l.major, l.minor);
  p->uuid.bytes[0] = static_cast<char>(device + 1);
  p->totalGlobalMem = Memory::limit();
  p->sharedMemPerBlock = 48 * 1024;
  p->sharedMemPerBlockOptin = static_cast<size_t>(l.shared_per_block_optin);
  p->sharedMemPerMultiprocessor = static_cast<size_t>(l.shared_per_multiprocessor);
  p->regsPerBlock = p->regsPerMultiprocessor = 65536;
  p->warpSize = 32;
  p->maxThreadsPerBlock = 1024;
  p->maxThreadsPerMultiProcessor = 2048;
  p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024;
  p->maxThreadsDim[2] = 64;
  p->maxGridSize[0] = 0x7fffffff;
  p->maxGridSize[1] = p->maxGridSize[2] = 65535;
  p->multiProcessorCount = 132;
  p->major = l.major;
  p->minor = l.minor;
  p->l2CacheSize = 50 << 20;
  p->memoryBusWidth = 5120;
  p->pciBusID = device + 1;
  p->unifiedAddressing = p->concurrentKernels = p->ECCEnabled = 1;
  p->asyncEngineCount = 3;
  return cudaSuccess;
}

SIMGPU_API cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return error;
  if (device < 0 || device >= device_count()) return refuse("cudaDeviceGetAttribute", "device");
  for (const Attribute& a : attributes()) {
    if (a.attribute != attribute) continue;
    *value = a.value;
    return cudaSuccess;
  }
  return refuse("cudaDeviceGetAttribute", "attribute");
}

SIMGPU_API cudaError_t cudaDeviceGetPCIBusId(char* id, int bytes, int device) {
  if (device < 0 || device >= device_count()) return refuse("cudaGetDeviceProperties", "device");
  std::snprintf(id, static_cast<size_t>(bytes), "0000:%02x:00.0", device + 1);
  return cudaSuccess;
}
