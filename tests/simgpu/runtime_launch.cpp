// Kernels: registration by nvcc's start-up code, modules loaded at run time, attributes and launches.
#include <cstring>

#include "tests/simgpu/launch.h"
#include "tests/simgpu/runtime.h"

namespace switchyard::simgpu {
namespace {

struct Image {  // a fat binary, or PTX given at run time; read at the first use of one of its kernels
  const void* fat_binary = nullptr;
  std::string ptx;
  std::unique_ptr<Module> module;
};

struct Kernel {
  Image* image;
  std::string name;
  Function* function = nullptr;
  int dynamic_shared_limit = 48 * 1024;
};

std::map<const void*, Kernel>& registered() {
  static auto* all = new std::map<const void*, Kernel>;
  return *all;
}
std::map<std::pair<Image*, std::string>, Kernel>& looked_up() {  // of modules loaded at run time
  static auto* all = new std::map<std::pair<Image*, std::string>, Kernel>;
  return *all;
}

Function& load(Kernel& k) {
  if (k.function) return *k.function;
  Image& image = *k.image;
  if (!image.module) {
    image.module = std::make_unique<Module>(image.fat_binary ? ptx_of(image.fat_binary, limits().code()) : image.ptx);
  }
  k.function = image.module->find(k.name);
  if (!k.function) throw Fault(cudaErrorInvalidDeviceFunction, "simgpu: kernel " + k.name + " is not in the PTX");
  return *k.function;
}

Kernel* find_kernel(const void* f) {
  if (auto found = registered().find(f); found != registered().end()) return &found->second;
  for (auto& [key, k] : looked_up()) {
    if (&k == f) return &k;
  }
  return nullptr;
}

// PTX that the engine does not know is a finding: the test could otherwise pass over the error.
cudaError_t cannot_load(const Fault& fault) {
  if (fault.status == cudaErrorNoKernelImageForDevice) {
    std::fprintf(stderr, "%s\n", fault.what());
    return refuse("cudaLaunchKernel", "no image for the device");
  }
  report("cannot load a kernel", fault.what(), fault.what());
  return finish(fault.status);
}

const char* why_refused(const Kernel& k, const Function& f, dim3 grid, dim3 block, size_t shared) {
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > 1024) return "block of no or more than 1024 threads";
  if (block.z > 64) return "block dimension";
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535)
    return "grid dimension";
  if (threads > f.max_threads) return "more threads than __launch_bounds__";
  const auto most = static_cast<size_t>(limits().shared_per_block_optin);
  if (shared > static_cast<size_t>(k.dynamic_shared_limit) || shared + f.shared_bytes > most) {
    return "dynamic shared memory beyond the attribute";
  }
  return nullptr;
}

cudaError_t launch(Kernel* k, dim3 grid, dim3 block, void** arguments, size_t shared, cudaStream_t handle) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return finish(error);
  const std::lock_guard lock(device_mutex());
  if (!k) return refuse("cudaLaunchKernel", "function");
  Stream* stream = Scheduler::get().find(handle);
  if (!stream) return refuse("any", "stream");
  try {
    const Function& f = load(*k);
    if (const char* why = why_refused(*k, f, grid, block, shared)) return refuse("cudaLaunchKernel", why);
    std::vector<uint8_t> parameters(f.parameter_bytes);
    for (size_t n = 0; n < f.parameters.size(); ++n) {
      std::memcpy(parameters.data() + f.parameters[n].offset, arguments[n], f.parameters[n].bytes);
    }
    ++Journal::get().counters.launches;
    Scheduler::get().enqueue({stream}, f.readable_name, [=, &f, parameters = std::move(parameters)](Operation& o) {
      run_launch(f, static_cast<RunningOperation&>(o).id, {grid.x, grid.y, grid.z}, {block.x, block.y, block.z},
                 static_cast<uint32_t>(shared), parameters);
      return Progress::done;
    });
    return finish(cudaSuccess);
  } catch (const Fault& fault) {
    return cannot_load(fault);
  }
}

thread_local struct {
  dim3 grid, block;
  size_t shared;
  cudaStream_t stream;
} configuration;

}  // namespace
}  // namespace switchyard::simgpu

using namespace switchyard::simgpu;

// ---- what the code that nvcc generates calls

SIMGPU_API void** __cudaRegisterFatBinary(void* wrapper) {
  auto* image = new Image;
  image->fat_binary = static_cast<const __fatBinC_Wrapper_t*>(wrapper)->data;
  return reinterpret_cast<void**>(image);
}
SIMGPU_API void __cudaRegisterFatBinaryEnd(void**) {}
SIMGPU_API void __cudaUnregisterFatBinary(void**) {}
SIMGPU_API char __cudaInitModule(void**) { return 1; }
SIMGPU_API void __cudaRegisterFunction(void** image, const char* host, char*, const char* name, int, uint3*, uint3*,
                                       dim3*, dim3*, int*) {
  registered()[host] = Kernel{reinterpret_cast<Image*>(image), name};
}
SIMGPU_API void __cudaRegisterVar(void**, char*, char*, const char*, int, size_t, int, int) {
}  // kernels alone use them
SIMGPU_API unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, struct CUstream_st* stream) {
  configuration = {grid, block, shared, stream};
  return 0;
}
SIMGPU_API cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* stream) {
  *grid = configuration.grid;
  *block = configuration.block;
  *shared = configuration.shared;
  *static_cast<cudaStream_t*>(stream) = configuration.stream;
  return cudaSuccess;
}
SIMGPU_API cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* host) {
  *kernel = reinterpret_cast<cudaKernel_t>(find_kernel(host));
  return *kernel ? cudaSuccess : refuse("cudaLaunchKernel", "function");
}
SIMGPU_API cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments, size_t shared,
                                          cudaStream_t stream) {
  return launch(reinterpret_cast<Kernel*>(kernel), grid, block, arguments, shared, stream);
}

// ---- the API

SIMGPU_API cudaError_t cudaLaunchKernel(const void* f, dim3 grid, dim3 block, void** arguments, size_t shared,
                                        cudaStream_t stream) {
  return launch(find_kernel(f), grid, block, arguments, shared, stream);
}
SIMGPU_API cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* c, const void* f, void** arguments) {
  if (c->numAttrs) report("not simulated", "cudaLaunchKernelExC", "attributes of a launch");
  return launch(find_kernel(f), c->gridDim, c->blockDim, arguments, c->dynamicSmemBytes, c->stream);
}

SIMGPU_API cudaError_t cudaFuncSetAttribute(const void* f, cudaFuncAttribute attribute, int value) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return finish(error);
  const std::lock_guard lock(device_mutex());
  Kernel* k = find_kernel(f);
  if (!k) return refuse("cudaFuncSetAttribute", "function");
  if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout) return finish(cudaSuccess);  // a hint
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return refuse("cudaFuncSetAttribute", "attribute");
  try {
    if (value < 0 || value + static_cast<int>(load(*k).shared_bytes) > limits().shared_per_block_optin) {
      return refuse("cudaFuncSetAttribute", "more shared memory than a block can have");
    }
  } catch (const Fault& fault) {
    return cannot_load(fault);
  }
  k->dynamic_shared_limit = value;
  return finish(cudaSuccess);
}

SIMGPU_API cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* f) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return finish(error);
  const std::lock_guard lock(device_mutex());
  Kernel* k = find_kernel(f);
  if (!k) return refuse("cudaFuncGetAttributes", "function");
  try {
    const Function& function = load(*k);
    *attributes = {};
    attributes->sharedSizeBytes = function.shared_bytes;
    attributes->localSizeBytes = function.local_bytes;
    attributes->maxThreadsPerBlock = static_cast<int>(function.max_threads);
    attributes->numRegs = 32;  // what ptxas allots is not known here
    attributes->ptxVersion = attributes->binaryVersion = limits().code();
    attributes->maxDynamicSharedSizeBytes = k->dynamic_shared_limit;
    return finish(cudaSuccess);
  } catch (const Fault& fault) {
    return cannot_load(fault);
  }
}

SIMGPU_API cudaError_t cudaLibraryLoadData(cudaLibrary_t* library, const void* code, cudaJitOption*, void**,
                                           unsigned jit_options, cudaLibraryOption*, void**, unsigned library_options) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return finish(error);
  if (jit_options || library_options) return refuse("cudaLibraryLoadData", "options");
  auto* image = new Image;
  uint32_t magic = 0;
  std::memcpy(&magic, code, sizeof magic);
  if (magic == 0xba55ed50u) {
    image->fat_binary = code;
  } else {
    image->ptx = static_cast<const char*>(code);
  }
  *library = reinterpret_cast<cudaLibrary_t>(image);
  return finish(cudaSuccess);
}
SIMGPU_API cudaError_t cudaLibraryGetKernel(cudaKernel_t* kernel, cudaLibrary_t library, const char* name) {
  const std::lock_guard lock(device_mutex());
  auto* image = reinterpret_cast<Image*>(library);
  auto [place, is_new] = looked_up().try_emplace({image, name}, Kernel{image, name});
  try {
    load(place->second);
  } catch (const Fault& fault) {
    looked_up().erase(place);
    return fault.status == cudaErrorInvalidDeviceFunction ? refuse("cudaLibraryGetKernel", "name") : cannot_load(fault);
  }
  *kernel = reinterpret_cast<cudaKernel_t>(&place->second);
  return finish(cudaSuccess);
}
SIMGPU_API cudaError_t cudaLibraryUnload(cudaLibrary_t library) {
  const cudaError_t status = cudaDeviceSynchronize();
  const std::lock_guard lock(device_mutex());
  auto* image = reinterpret_cast<Image*>(library);
  std::erase_if(looked_up(), [&](const auto& entry) { return entry.first.first == image; });
  delete image;
  return status;
}
