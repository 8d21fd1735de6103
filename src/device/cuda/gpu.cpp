// The GPU of a rank: chosen once, with its streams and its memory.
#include "switchyard/base/cuda_status.h"
#include "switchyard/base/error.h"
#include "switchyard/base/units.h"
#include "switchyard/device/cuda.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <thread>

namespace switchyard::device {
namespace {

constexpr int kOldestCapability = 80;  // sm_80: bf16 arithmetic, asynchronous copies
constexpr int64_t kStagingBytes = 4 << 20;

class GpuMemory final : public SystemMemory {
 public:
  explicit GpuMemory(bool has_pool) {
    device = Device::cuda;
    alignment = 256;
    is_passed_through = !has_pool;
  }
  void* take(int64_t bytes) override {
    void* start = nullptr;
    const cudaError_t status = cudaMalloc(&start, static_cast<size_t>(bytes));
    if (status == cudaErrorMemoryAllocation) {
      cudaGetLastError();  // told by the allocator
      return nullptr;
    }
    check_cuda(status, "allocating GPU memory");
    return start;
  }
  void give_back(void* start, int64_t) override { cudaFree(start); }
};

// Members are destroyed in the opposite order: storages may hold the allocator for longer.
struct Gpu {
  Gpu(std::string text, const Options& options)
      : description(std::move(text)),
        memory(std::make_shared<Allocator>(std::make_unique<GpuMemory>(options.has_pool))) {}

  std::string description;
  std::shared_ptr<Allocator> memory;
  Stream compute, communication;
  Pinned staging{kStagingBytes};
};

thread_local std::optional<Gpu> gpu;
thread_local std::function<void()> watch;
thread_local int64_t num_host_waits = 0;

Gpu& own() {
  check(gpu.has_value(), "no GPU has been opened for this rank");
  return *gpu;
}

std::string version_of(int number) { return fmt::format("{}.{}", number / 1000, number % 1000 / 10); }

int driver_version() {
  int driver = 0, toolkit = 0;
  check_cuda(cudaDriverGetVersion(&driver), "asking for the driver's version");
  check_cuda(cudaRuntimeGetVersion(&toolkit), "asking for the toolkit's version");
  require(driver > 0, ExitCode::usage, "run.device=cuda: this machine has no NVIDIA driver; run.device=cpu needs none");
  require(driver / 1000 >= toolkit / 1000, ExitCode::usage,
          "run.device=cuda: the driver is for CUDA {}, and the program was built with {}: a newer driver is needed",
          version_of(driver), version_of(toolkit));
  return driver;
}

void choose(int local_rank, int64_t ranks_here) {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaErrorNoDevice) check_cuda(status, "counting GPUs");
  cudaGetLastError();
  require(count > 0, ExitCode::usage, "run.device=cuda: this machine shows no GPU (see CUDA_VISIBLE_DEVICES)");
  require(ranks_here <= count, ExitCode::usage,
          "run.device=cuda: {} ranks on this machine, and it shows {} GPUs: one each is needed", ranks_here, count);
  check_cuda(cudaSetDevice(local_rank), "choosing a GPU");
}

std::string describe_chosen(int local_rank, int driver) {
  cudaDeviceProp card{};
  check_cuda(cudaGetDeviceProperties(&card, local_rank), "asking what the GPU is");
  const int capability = card.major * 10 + card.minor;
  require(capability >= kOldestCapability, ExitCode::usage,
          "run.device=cuda: {} has compute capability {}.{}, and 8.0 is the least", card.name, card.major, card.minor);
  int toolkit = 0;
  check_cuda(cudaRuntimeGetVersion(&toolkit), "asking for the toolkit's version");
  return fmt::format("{}, {}, compute capability {}.{}, driver {}, toolkit {}", card.name,
                     format_bytes(static_cast<double>(card.totalGlobalMem)), card.major, card.minor, version_of(driver),
                     version_of(toolkit));
}

cudaMemcpyKind kind_of(Device to, Device from) {
  if (to == from) return cudaMemcpyDeviceToDevice;
  return to == Device::cuda ? cudaMemcpyHostToDevice : cudaMemcpyDeviceToHost;
}

// The staging buffer is used for one piece at a time.
void wait_for_compute() {
  Event event;
  event.record(compute());
  wait_until(event);
}

}  // namespace

void open(int64_t local_rank, int64_t ranks_here, const Options& options) {
  check(!gpu.has_value(), "a GPU has been opened for this rank before");
  const int driver = driver_version();
  choose(static_cast<int>(local_rank), ranks_here);
  gpu.emplace(describe_chosen(static_cast<int>(local_rank), driver), options);
}

bool is_there() {
  int driver = 0, count = 0;
  const bool is_there = cudaDriverGetVersion(&driver) == cudaSuccess && driver > 0 &&
                        cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
  cudaGetLastError();
  return is_there;
}

bool is_open() { return gpu.has_value(); }
std::string describe() { return own().description; }
Stream& compute() { return own().compute; }
Stream& communication() { return own().communication; }
const std::shared_ptr<Allocator>& memory() { return own().memory; }
void set_watch(std::function<void()> with) { watch = std::move(with); }
int64_t host_waits() { return num_host_waits; }

void wait_until(const Event& event) {
  if (event.is_done()) return;
  ++num_host_waits;
  for (int64_t rounds = 1; !event.is_done(); ++rounds) {
    if (watch && rounds % 1024 == 0) watch();
    std::this_thread::yield();
  }
}

// Host memory goes through the staging buffer, so that a copy is a step of the stream like any other.
void copy_bytes(void* to, Device to_device, const void* from, Device from_device, int64_t bytes) {
  if (bytes == 0) return;
  const cudaMemcpyKind kind = kind_of(to_device, from_device);
  CUstream_st* stream = compute().get();
  if (kind == cudaMemcpyDeviceToDevice) {
    check_cuda(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), kind, stream), "copying on the GPU");
    return;
  }
  void* staging = own().staging.data();
  for (int64_t begin = 0; begin < bytes; begin += kStagingBytes) {
    const auto size = static_cast<size_t>(std::min(kStagingBytes, bytes - begin));
    std::byte* target = static_cast<std::byte*>(to) + begin;
    const std::byte* source = static_cast<const std::byte*>(from) + begin;
    if (kind == cudaMemcpyHostToDevice) {
      std::memcpy(staging, source, size);
      check_cuda(cudaMemcpyAsync(target, staging, size, kind, stream), "copying to the GPU");
      wait_for_compute();
    } else {
      check_cuda(cudaMemcpyAsync(staging, source, size, kind, stream), "copying from the GPU");
      wait_for_compute();
      std::memcpy(target, staging, size);
    }
  }
}

}  // namespace switchyard::device
