// The GPU of a rank: chosen once, with its streams and its memory.
#include "device/cuda/nvtx.h"
#include "switchyard/base/cuda_status.h"
#include "switchyard/base/error.h"
#include "switchyard/base/units.h"
#include "switchyard/device/cuda.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <thread>

namespace switchyard::device {
namespace {

constexpr int kOldestCapability = 80;  // sm_80: bf16 arithmetic, asynchronous copies
constexpr int64_t kSlotBytes = 1 << 16;

// What an allocation gave; null where there is no more, which the allocator tells.
void* taken(cudaError_t status, void* start) {
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return nullptr;
  }
  check_cuda(status, "allocating memory");
  return start;
}

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
    return taken(status, start);
  }
  void give_back(void* start, int64_t) override {
    cudaDeviceSynchronize();  // kernels may still read it
    cudaFree(start);
  }
};

// Pages that streams may fill or read while the host goes on. Blocks do not share pages, so that a tool can watch each.
class PinnedMemory final : public SystemMemory {
 public:
  PinnedMemory() {
    alignment = 4096;
    min_segment = 2 << 20;
  }
  void* take(int64_t bytes) override {
    void* start = nullptr;
    const cudaError_t status = cudaMallocHost(&start, static_cast<size_t>(bytes));
    return taken(status, start);
  }
  void give_back(void* start, int64_t) override { cudaFreeHost(start); }
};

// Copies from the host's pageable memory go through slots of page-locked memory, in turn.
class Staging {
 public:
  explicit Staging(Allocator& pinned) {
    for (Slot& slot : slots_) slot.data = pinned.allocate(kSlotBytes, Purpose::buffers);
  }
  // Up to kSlotBytes to the GPU: returns when `from` has been read.
  void send(void* to, const void* from, size_t bytes, const Stream& stream) {
    Slot& slot = slots_[next_++ % slots_.size()];
    wait_until(slot.is_free);
    std::memcpy(slot.data, from, bytes);
    check_cuda(cudaMemcpyAsync(to, slot.data, bytes, cudaMemcpyHostToDevice, stream.get()), "copying to the GPU");
    slot.is_free.record(stream);
  }
  void receive(void* to, const void* from, size_t bytes, const Stream& stream) {
    Slot& slot = slots_[next_++ % slots_.size()];
    wait_until(slot.is_free);
    check_cuda(cudaMemcpyAsync(slot.data, from, bytes, cudaMemcpyDeviceToHost, stream.get()), "copying from the GPU");
    slot.is_free.record(stream);
    wait_until(slot.is_free);
    std::memcpy(to, slot.data, bytes);
  }

 private:
  struct Slot {
    void* data = nullptr;
    Event is_free;
  };
  std::array<Slot, 64> slots_;  // so many small uploads the host may be ahead
  size_t next_ = 0;
};

// Members are destroyed in the opposite order: storages may hold the allocator for longer.
struct Gpu {
  Gpu(std::string text, const Options& options)
      : description(std::move(text)),
        is_checked(options.is_checked),
        memory(std::make_shared<Allocator>(std::make_unique<GpuMemory>(options.has_pool))) {}

  ~Gpu() { cudaDeviceSynchronize(); }  // copies may still be under way
  Gpu(const Gpu&) = delete;
  Gpu& operator=(const Gpu&) = delete;

  std::string description;
  bool is_checked;
  std::shared_ptr<Allocator> memory;
  std::shared_ptr<Allocator> pinned = std::make_shared<Allocator>(std::make_unique<PinnedMemory>());
  Stream compute, communication;
  Staging staging{*pinned};
  std::unique_ptr<Listener> profilers = listen_for_profilers();
};

thread_local std::optional<Gpu> gpu;
thread_local std::function<void()> watch;
thread_local int64_t num_host_waits = 0;

Gpu& own() {
  check(gpu.has_value(), "no GPU has been opened for this rank");
  return *gpu;
}

std::string version_of(int number) { return fmt::format("{}.{}", number / 1000, number % 1000 / 10); }

// Kernels are loaded when CUDA starts: at its first launch a kernel would wait for those that run, and NCCL's may wait
// for another rank. A user's own setting stays.
void load_kernels_at_start() { setenv("CUDA_MODULE_LOADING", "EAGER", 0); }

struct Versions {
  int driver = 0, toolkit = 0;
};
Versions versions() {
  Versions v;
  check_cuda(cudaDriverGetVersion(&v.driver), "asking for the driver's version");
  check_cuda(cudaRuntimeGetVersion(&v.toolkit), "asking for the toolkit's version");
  return v;
}

int count_gpus() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaErrorNoDevice) check_cuda(status, "counting GPUs");
  cudaGetLastError();
  return count;
}

cudaDeviceProp card_of(int64_t number) {
  cudaDeviceProp card{};
  check_cuda(cudaGetDeviceProperties(&card, static_cast<int>(number)), "asking what the GPU is");
  return card;
}

// The only one where a launcher shows each rank its own.
int64_t number_of(int64_t local_rank, int count) { return count == 1 ? 0 : local_rank; }

std::string capability_text(int capability) { return fmt::format("{}.{}", capability / 10, capability % 10); }

std::string description_of(int64_t number) {
  const cudaDeviceProp card = card_of(number);
  const Versions v = versions();
  return fmt::format("{}, {}, compute capability {}, driver {}, toolkit {}", card.name,
                     format_bytes(static_cast<double>(card.totalGlobalMem)),
                     capability_text(card.major * 10 + card.minor), version_of(v.driver), version_of(v.toolkit));
}

}  // namespace

std::string obstacle(const Place& place) {
  load_kernels_at_start();
  const Versions v = versions();
  if (v.driver == 0) return "this machine has no NVIDIA driver; run.device=cpu needs none";
  if (v.driver / 1000 < v.toolkit / 1000)
    return fmt::format("the driver is for CUDA {}, and the program was built with {}: a newer driver is needed",
                       version_of(v.driver), version_of(v.toolkit));
  const int count = count_gpus();
  if (count == 0) return "this machine shows no GPU (see CUDA_VISIBLE_DEVICES)";
  if (place.ranks_here > count && !(count == 1 && place.has_own_gpu))
    return fmt::format("{} ranks on this machine, and it shows {}: one each is needed", place.ranks_here,
                       plural(count, "GPU"));
  const cudaDeviceProp card = card_of(number_of(place.local_rank, count));
  const int capability = card.major * 10 + card.minor;
  if (capability < kOldestCapability)
    return fmt::format("{} has compute capability {}, and 8.0 is the least", card.name, capability_text(capability));
  if (capability < SWITCHYARD_LEAST_CAPABILITY)
    return fmt::format(
        "{} has compute capability {}, and the program has kernels for {} and later: configure with "
        "-DSWITCHYARD_CUDA_ARCHITECTURES=all",
        card.name, capability_text(capability), capability_text(SWITCHYARD_LEAST_CAPABILITY));
  return "";
}

std::string address(int64_t local_rank) {
  if (!is_there()) return "";
  const int count = count_gpus();
  const int64_t number = number_of(local_rank, count);
  if (number >= count) return "";
  const cudaDeviceProp card = card_of(number);
  return fmt::format("{:x}:{:x}:{:x}", card.pciDomainID, card.pciBusID, card.pciDeviceID);
}

void open(const Place& place, const Options& options) {
  check(!gpu.has_value(), "a GPU has been opened for this rank before");
  const std::string why_not = obstacle(place);
  require(why_not.empty(), ExitCode::usage, "run.device=cuda: {}", why_not);
  const int64_t number = number_of(place.local_rank, count_gpus());
  check_cuda(cudaSetDevice(static_cast<int>(number)), "choosing a GPU");
  gpu.emplace(description_of(number), options);
}

bool is_there() {
  load_kernels_at_start();
  int driver = 0, count = 0;
  const bool is_there = cudaDriverGetVersion(&driver) == cudaSuccess && driver > 0 &&
                        cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
  cudaGetLastError();
  return is_there;
}

bool is_open() { return gpu.has_value(); }
bool is_checked() { return gpu.has_value() && gpu->is_checked; }
std::string describe() { return own().description; }
Stream& compute() { return own().compute; }
Stream& communication() { return own().communication; }
const std::shared_ptr<Allocator>& memory() { return own().memory; }
const std::shared_ptr<Allocator>& pinned_memory() { return own().pinned; }
void set_watch(std::function<void()> with) { watch = std::move(with); }
int64_t host_waits() { return num_host_waits; }

void wait_until(const Event& event) {
  if (event.is_done()) return;
  ++num_host_waits;
  const Range range("the GPU", RangeKind::wait);
  for (int64_t rounds = 1; !event.is_done(); ++rounds) {
    if (watch && rounds % 1024 == 0) watch();
    std::this_thread::yield();
  }
}

void copy_bytes(void* to, Device to_device, const void* from, Device from_device, int64_t bytes) {
  const Stream& stream = compute();
  if (to_device == from_device && bytes > 0) {
    check_cuda(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToDevice, stream.get()),
               "copying on the GPU");
    return;
  }
  for (int64_t begin = 0; begin < bytes; begin += kSlotBytes) {
    const auto size = static_cast<size_t>(std::min(kSlotBytes, bytes - begin));
    std::byte* target = static_cast<std::byte*>(to) + begin;
    const std::byte* source = static_cast<const std::byte*>(from) + begin;
    if (to_device == Device::cuda)
      own().staging.send(target, source, size, stream);
    else
      own().staging.receive(target, source, size, stream);
  }
}

void start_copy_to_host(void* pinned, const void* from, int64_t bytes, Event& done) {
  if (bytes > 0)
    check_cuda(cudaMemcpyAsync(pinned, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost, compute().get()),
               "copying from the GPU");
  done.record(compute());
}

}  // namespace switchyard::device
