// Kernels: registration by nvcc's start-up code, attributes and launches.
#include <fatbinary_section.h>

#include "tests/simgpu/runtime.h"
#include "tests/simgpu/warp.h"

namespace switchyard::simgpu {
namespace {

struct Image {
  const void* fat_binary;
  std::unique_ptr<Module> module{};  // at the first use of one of its kernels
};
struct Kernel {
  Image* image;
  std::string name;
  Function* function = nullptr;
  int dynamic_shared_limit = 48 * 1024;
};

using Kernels = std::map<const void*, Kernel>;  // by the address that stands for each in the program

Function& load(Kernel& k) {
  Image& image = *k.image;
  const Limits l = limits();
  if (!image.module) image.module = std::make_unique<Module>(ptx_of(image.fat_binary, 10 * l.major + l.minor));
  if (!k.function) k.function = image.module->find(k.name);
  if (!k.function) throw Fault(cudaErrorSymbolNotFound, fmt::format("simgpu: kernel {} is not in the PTX", k.name));
  return *k.function;
}

// Calls body(kernel, its function). PTX that the engine does not know is a finding: a test could pass over the status.
template <class F>
cudaError_t with(const char* name, const void* f, F body) {
  return call([&] {
    const auto found = the<Kernels>().find(f);
    if (found == the<Kernels>().end()) return refuse(name, "function");
    try {
      return body(found->second, load(found->second));
    } catch (const Fault& fault) {
      if (fault.status == cudaErrorNoKernelImageForDevice) return refuse("any", "no image for the device");
      report("cannot load a kernel", fault.what(), fault.what());
      return fault.status;
    }
  });
}

const char* why_refused(const Kernel& k, const Function& f, dim3 grid, dim3 block, size_t shared) {
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > 1024) return "block of no or more than 1024 threads";
  if (block.z > 64) return "block dimension";
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535)
    return "grid dimension";
  if (threads > f.max_threads) return "more threads than __launch_bounds__";
  const bool too_much = shared > static_cast<size_t>(k.dynamic_shared_limit) ||
                        shared + f.shared_bytes > static_cast<size_t>(limits().shared_per_block);
  return too_much ? "dynamic shared memory beyond the attribute" : nullptr;
}

cudaError_t launch(const void* f, dim3 grid, dim3 block, void** arguments, size_t shared, cudaStream_t handle) {
  return with("cudaLaunchKernel", f, [&](Kernel& k, const Function& function) {
    Stream* stream = Scheduler::get().find(handle);
    if (!stream) return refuse("any", "stream");
    if (const char* why = why_refused(k, function, grid, block, shared)) return refuse("cudaLaunchKernel", why);
    std::vector<uint8_t> parameters(function.parameter_bytes);
    for (size_t n = 0; n < function.parameters.size(); ++n)
      std::memcpy(parameters.data() + function.parameters[n].offset, arguments[n], function.parameters[n].bytes);
    const bool faults = static_cast<int64_t>(++Journal::get().counters["launches"]) == setting("FAIL_LAUNCH", 0);
    auto body = [=, &function, parameters = std::move(parameters)](Operation& o) {
      if (faults) throw Fault(cudaErrorIllegalAddress, "SIMGPU_FAIL_LAUNCH: " + function.readable_name);
      run_launch(function, o.number, {grid.x, grid.y, grid.z}, {block.x, block.y, block.z},
                 static_cast<uint32_t>(shared), parameters);
      return Progress::done;
    };
    Scheduler::get().enqueue(*stream, function.readable_name, std::move(body));
    return cudaSuccess;
  });
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
  return reinterpret_cast<void**>(new Image{static_cast<const __fatBinC_Wrapper_t*>(wrapper)->data});
}
SIMGPU_API void __cudaRegisterFatBinaryEnd(void**) {}
SIMGPU_API void __cudaUnregisterFatBinary(void**) {}
SIMGPU_API void __cudaRegisterFunction(void** image, const char* host, char*, const char* name, int, uint3*, uint3*,
                                       dim3*, dim3*, int*) {
  the<Kernels>()[host] = {reinterpret_cast<Image*>(image), name};
  the<Runs>()[name];
}
SIMGPU_API unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, struct CUstream_st* stream) {
  configuration = {grid, block, shared, stream};
  return 0;
}
SIMGPU_API cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* stream) {
  *grid = configuration.grid, *block = configuration.block, *shared = configuration.shared;
  *static_cast<cudaStream_t*>(stream) = configuration.stream;
  return cudaSuccess;
}
SIMGPU_API cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* host) {
  *kernel = reinterpret_cast<cudaKernel_t>(const_cast<void*>(host));
  return cudaSuccess;
}

// ---- the API

SIMGPU_API cudaError_t cudaLaunchKernel(const void* f, dim3 grid, dim3 block, void** arguments, size_t shared,
                                        cudaStream_t stream) {
  return launch(f, grid, block, arguments, shared, stream);
}
SIMGPU_API cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments, size_t shared,
                                          cudaStream_t stream) {
  return launch(kernel, grid, block, arguments, shared, stream);
}
SIMGPU_API cudaError_t cudaFuncSetAttribute(const void* f, cudaFuncAttribute attribute, int value) {
  return with("cudaFuncSetAttribute", f, [&](Kernel& k, const Function& function) {
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return refuse("cudaFuncSetAttribute", "attribute");
    if (value < 0 || value + static_cast<int>(function.shared_bytes) > limits().shared_per_block)
      return refuse("cudaFuncSetAttribute", "more shared memory than a block can have");
    k.dynamic_shared_limit = value;
    return cudaSuccess;
  });
}
