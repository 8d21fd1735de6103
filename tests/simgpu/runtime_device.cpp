// Devices, versions and the status of calls.
#include <cstring>

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
ErrorText find_error(cudaError_t status) {
  for (const ErrorText& e : kErrors) {
    if (e.status == status) return e;
  }
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
  l.shared_per_multiprocessor = (l.major > 8 ? 228 : l.minor == 0 ? 164 : 100) * 1024;
  l.shared_per_block = l.shared_per_multiprocessor - 1024;
  return l;
}

}  // namespace switchyard::simgpu

using namespace switchyard::simgpu;

SIMGPU_API cudaError_t cudaPeekAtLastError() {
  const std::lock_guard lock(device_mutex());
  const cudaError_t sticky = Scheduler::get().sticky();
  return sticky != cudaSuccess ? sticky : last_error;
}
SIMGPU_API cudaError_t cudaGetLastError() {
  const cudaError_t error = cudaPeekAtLastError();
  last_error = cudaSuccess;
  return error;
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
    std::memset(p, 0, sizeof *p);
    std::strcpy(p->name, "Simulated GPU");
    p->uuid.bytes[0] = static_cast<char>(device + 1);
    p->totalGlobalMem = Memory::limit();
    p->sharedMemPerBlock = 48 * 1024;
    p->sharedMemPerBlockOptin = static_cast<size_t>(l.shared_per_block);
    p->sharedMemPerMultiprocessor = static_cast<size_t>(l.shared_per_multiprocessor);
    p->regsPerBlock = p->regsPerMultiprocessor = 65536;
    p->warpSize = 32;
    p->maxThreadsPerBlock = p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024;
    p->maxThreadsDim[2] = 64;
    p->maxThreadsPerMultiProcessor = 2048;
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
  });
}

SIMGPU_API cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp p;
  if (const cudaError_t status = cudaGetDeviceProperties(&p, device); status != cudaSuccess) return status;
  const std::map<cudaDeviceAttr, size_t> values = {
      {cudaDevAttrMaxThreadsPerBlock, p.maxThreadsPerBlock},
      {cudaDevAttrMaxSharedMemoryPerBlock, p.sharedMemPerBlock},
      {cudaDevAttrMaxSharedMemoryPerBlockOptin, p.sharedMemPerBlockOptin},
      {cudaDevAttrMaxSharedMemoryPerMultiprocessor, p.sharedMemPerMultiprocessor},
      {cudaDevAttrWarpSize, p.warpSize},
      {cudaDevAttrMultiProcessorCount, p.multiProcessorCount},
      {cudaDevAttrMaxGridDimY, p.maxGridSize[1]},
      {cudaDevAttrComputeCapabilityMajor, p.major},
      {cudaDevAttrComputeCapabilityMinor, p.minor},
      {cudaDevAttrL2CacheSize, p.l2CacheSize},
      {cudaDevAttrMaxThreadsPerMultiProcessor, p.maxThreadsPerMultiProcessor},
      {cudaDevAttrUnifiedAddressing, 1},
      {cudaDevAttrConcurrentKernels, 1}};
  return call([&] {
    if (!values.count(attribute)) return refuse("cudaDeviceGetAttribute", "attribute");
    return *value = static_cast<int>(values.at(attribute)), cudaSuccess;
  });
}

SIMGPU_API cudaError_t cudaDeviceGetPCIBusId(char* id, int bytes, int device) {
  return call([&] { return std::snprintf(id, static_cast<size_t>(bytes), "0000:%02x:00.0", device + 1), cudaSuccess; });
}
