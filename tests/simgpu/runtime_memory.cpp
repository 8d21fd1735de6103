// Memory: allocation, copies and fills. A copy from pageable memory is staged at the call; whether the host waits is as
// NVIDIA's guide has it ("API synchronization behavior"): to pageable memory it does, from it it does not.
#include <sys/mman.h>

#include <cstring>

#include "tests/simgpu/runtime.h"

namespace switchyard::simgpu {
namespace {

bool is_to_fail() {
  const Counters& c = Journal::get().counters;
  return static_cast<int64_t>(c.allocations + c.pinned_allocations) == setting("FAIL_ALLOCATION", 0);
}

cudaError_t allocate(void** p, size_t bytes, Allocation::Kind kind) {
  const bool pinned = kind == Allocation::Kind::pinned;
  const char* call = pinned ? "cudaMallocHost" : "cudaMalloc";
  if (const cudaError_t error = usable(); error != cudaSuccess) return error;
  const std::lock_guard lock(device_mutex());
  if (!p) return refuse(call, "null pointer");
  *p = nullptr;
  if (bytes == 0) return finish(cudaSuccess);
  Counters& counters = Journal::get().counters;
  ++(pinned ? counters.pinned_allocations : counters.allocations);
  Allocation* a = is_to_fail() ? nullptr : Memory::get().allocate(bytes, kind);
  if (!a) return refuse(call, "more than is free");
  *p = reinterpret_cast<void*>(a->begin);
  return finish(cudaSuccess);
}

// A free is a write of its range by the host. The driver waits for the device before it frees, but a program that
// relies on that has forgotten to wait itself, and its allocator would hand out the memory while it is in use.
cudaError_t release(void* p, Allocation::Kind kind) {
  const bool pinned = kind == Allocation::Kind::pinned;
  const char *call = pinned ? "cudaFreeHost" : "cudaFree",
             *why = pinned ? "not from cudaMallocHost, or freed" : "not from cudaMalloc, or freed";
  if (const cudaError_t error = usable(); error != cudaSuccess) return error;
  if (!p) return finish(cudaSuccess);
  {
    const std::lock_guard lock(device_mutex());
    Allocation* a = Memory::get().find(reinterpret_cast<uint64_t>(p));
    if (!a || a->kind != kind || a->begin != reinterpret_cast<uint64_t>(p)) return refuse(call, why);
    touch(Order::get().add_host_operation(call), *a, 0, a->bytes, true);
  }
  const cudaError_t status = Scheduler::get().synchronize_all();
  const std::lock_guard lock(device_mutex());
  if (Allocation* a = Memory::get().find(reinterpret_cast<uint64_t>(p))) Memory::get().free(*a);
  return finish(status);
}

struct Side {  // one end of a copy
  Allocation* allocation;
  bool device() const { return allocation && allocation->kind != Allocation::Kind::pinned; }
  bool pinned() const { return allocation && allocation->kind == Allocation::Kind::pinned; }
};

bool is_direction(cudaMemcpyKind kind, const Side& to, const Side& from) {
  switch (kind) {
    case cudaMemcpyHostToHost: return !from.device() && !to.device();
    case cudaMemcpyHostToDevice: return !from.device() && to.device();
    case cudaMemcpyDeviceToHost: return from.device() && !to.device();
    case cudaMemcpyDeviceToDevice: return from.device() && to.device();
    default: return true;
  }
}

cudaError_t copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t handle,
                 bool asynchronous) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return error;
  std::unique_lock lock(device_mutex());
  Memory& memory = Memory::get();
  Scheduler& scheduler = Scheduler::get();
  Stream* stream = scheduler.find(handle);
  if (!stream) return refuse("any", "stream");
  if (bytes == 0) return finish(cudaSuccess);
  const auto source = reinterpret_cast<uint64_t>(from), target = reinterpret_cast<uint64_t>(to);
  const Side in{memory.find(source)}, out{memory.find(target)};
  if (!is_direction(kind, out, in)) return refuse("cudaMemcpy", "direction");
  if ((in.allocation ? !in.allocation->contains(source, bytes) : memory.in_arena(source)) ||
      (out.allocation ? !out.allocation->contains(target, bytes) : memory.in_arena(target))) {
    return refuse("cudaMemcpy", "range");
  }
  const bool waits = !out.allocation || (!asynchronous && (in.pinned() || out.pinned()));
  std::vector<uint8_t> staged;
  if (!in.allocation) staged.assign(static_cast<const uint8_t*>(from), static_cast<const uint8_t*>(from) + bytes);
  const char* name = in.device()    ? (out.device() ? "memcpy D2D" : "memcpy D2H")
                     : out.device() ? "memcpy H2D"
                                    : "memcpy H2H";
  const bool from_program = !in.allocation, to_program = !out.allocation;
  const uint32_t operation = scheduler.enqueue({stream}, name, [=, staged = std::move(staged)](Operation& o) {
    const uint8_t* read = from_program ? staged.data() : o.read({from, bytes}, "source");
    std::memmove(to_program ? static_cast<uint8_t*>(to) : o.write({to, bytes}, "target"), read, bytes);
    return Progress::done;
  });
  const uint32_t sequence = stream->issued;
  const Clock clock = stream->clock;
  // Until the host has synchronised it may neither see the target nor change the source.
  if (out.pinned()) memory.guard(to, bytes, PROT_NONE, operation);
  if (in.pinned()) memory.guard(from, bytes, PROT_READ, operation);
  lock.unlock();
  return finish(waits ? scheduler.synchronize(*stream, sequence, clock) : cudaSuccess);
}

cudaError_t fill(void* p, int value, size_t bytes, cudaStream_t handle) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return error;
  const std::lock_guard lock(device_mutex());
  Stream* stream = Scheduler::get().find(handle);
  if (!stream) return refuse("any", "stream");
  if (bytes == 0) return finish(cudaSuccess);
  const Allocation* a = Memory::get().find(reinterpret_cast<uint64_t>(p));
  if (!a || !a->contains(reinterpret_cast<uint64_t>(p), bytes)) return refuse("cudaMemset", "range");
  Scheduler::get().enqueue({stream}, "memset", [=](Operation& o) {
    std::memset(o.write({p, bytes}, "target"), value, bytes);
    return Progress::done;
  });
  return finish(cudaSuccess);
}

}  // namespace
}  // namespace switchyard::simgpu

using namespace switchyard::simgpu;

SIMGPU_API cudaError_t cudaMalloc(void** p, size_t bytes) { return allocate(p, bytes, Allocation::Kind::device); }
SIMGPU_API cudaError_t cudaFree(void* p) { return release(p, Allocation::Kind::device); }
SIMGPU_API cudaError_t cudaMallocHost(void** p, size_t bytes) { return allocate(p, bytes, Allocation::Kind::pinned); }
SIMGPU_API cudaError_t cudaHostAlloc(void** p, size_t bytes, unsigned) {
  return allocate(p, bytes, Allocation::Kind::pinned);
}
SIMGPU_API cudaError_t cudaFreeHost(void* p) { return release(p, Allocation::Kind::pinned); }
SIMGPU_API cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  return copy(to, from, bytes, kind, nullptr, false);
}
SIMGPU_API cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                                       cudaStream_t stream) {
  return copy(to, from, bytes, kind, stream, true);
}
SIMGPU_API cudaError_t cudaMemset(void* p, int value, size_t bytes) { return fill(p, value, bytes, nullptr); }
SIMGPU_API cudaError_t cudaMemsetAsync(void* p, int value, size_t bytes, cudaStream_t stream) {
  return fill(p, value, bytes, stream);
}

SIMGPU_API cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return error;
  const std::lock_guard lock(device_mutex());
  *total = Memory::limit();
  *free = *total - std::min(*total, Memory::get().used());
  return finish(cudaSuccess);
}
SIMGPU_API cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* p) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return error;
  const std::lock_guard lock(device_mutex());
  const Allocation* a = Memory::get().find(reinterpret_cast<uint64_t>(p));
  *attributes = {};
  attributes->type = !a                                    ? cudaMemoryTypeUnregistered
                     : a->kind == Allocation::Kind::pinned ? cudaMemoryTypeHost
                                                           : cudaMemoryTypeDevice;
  if (!a) return finish(cudaSuccess);
  cudaGetDevice(&attributes->device);
  attributes->devicePointer = const_cast<void*>(p);
  if (a->kind == Allocation::Kind::pinned) attributes->hostPointer = const_cast<void*>(p);
  return finish(cudaSuccess);
}
