// Memory: allocation, copies and fills. A copy from pageable memory is staged at the call; whether the host waits is as
// NVIDIA's guide has it ("API synchronization behavior"): to pageable memory it does, from it it does not.
#include <sys/mman.h>

#include <cstring>

#include "tests/simgpu/runtime.h"

namespace switchyard::simgpu {
namespace {

uint64_t number_of(const void* p) { return reinterpret_cast<uint64_t>(p); }

cudaError_t allocate(const char* name, void** p, size_t bytes, Allocation::Kind kind) {
  return call([&] {
    if (!p) return refuse(name, "null pointer");
    *p = nullptr;
    if (bytes == 0) return cudaSuccess;
    auto& counters = Journal::get().counters;
    ++counters[kind == Allocation::Kind::pinned ? "pinned_allocations" : "allocations"];
    const int64_t made = static_cast<int64_t>(counters["allocations"] + counters["pinned_allocations"]);
    const int64_t last = setting("FAIL_ALLOCATION", 0) - 1;  // then there is no more memory
    Allocation* a = last >= 0 && made > last ? nullptr : Memory::get().allocate(bytes, kind);
    if (!a) return refuse(name, "more than is free");
    *p = reinterpret_cast<void*>(a->begin);
    return cudaSuccess;
  });
}

// A free is a write of its range by the host. The driver waits for the device before it frees, but a program that
// relies on that has forgotten to wait itself, and an allocator of its own would hand out the memory while it is in
// use.
cudaError_t release(const char* name, void* p, Allocation::Kind kind) {
  Allocation* a = nullptr;
  uint32_t operation = 0;
  std::vector<Moment> now;
  const cudaError_t status = call([&] {
    a = p ? Memory::get().find(number_of(p)) : nullptr;
    if (p && (!a || a->kind != kind || a->begin != number_of(p))) return refuse(name, "not allocated so, or freed");
    operation = Order::get().add_host_operation(name);
    now = Scheduler::get().now();
    return cudaSuccess;
  });
  if (status != cudaSuccess || !p) return status;
  Scheduler::get().synchronize(now);
  return call([&] {
    touch(operation, *a, 0, a->bytes, true);
    Memory::get().free(*a);
    return cudaSuccess;
  });
}

bool is_device(const Allocation* a) { return a && a->kind != Allocation::Kind::pinned; }
bool is_pinned(const Allocation* a) { return a && !is_device(a); }

bool is_direction(cudaMemcpyKind kind, bool from_device, bool to_device) {
  if (kind == cudaMemcpyDefault) return true;
  return from_device == (kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice) &&
         to_device == (kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice);
}

cudaError_t copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t handle,
                 bool asynchronous) {
  std::vector<Moment> wait;
  const cudaError_t status = call([&] {
    Memory& memory = Memory::get();
    Stream* stream = Scheduler::get().find(handle);
    if (!stream) return refuse("any", "stream");
    if (bytes == 0) return cudaSuccess;
    const Allocation *in = memory.find(number_of(from)), *out = memory.find(number_of(to));
    if (!is_direction(kind, is_device(in), is_device(out))) return refuse("cudaMemcpy", "direction");
    const bool outside = in ? !in->contains(number_of(from), bytes) : memory.in_arena(number_of(from));
    if (outside || (out ? !out->contains(number_of(to), bytes) : memory.in_arena(number_of(to))))
      return refuse("cudaMemcpy", "range");
    std::vector<uint8_t> staged;
    if (!in) staged.assign(static_cast<const uint8_t*>(from), static_cast<const uint8_t*>(from) + bytes);
    const std::string name = std::string("memcpy ") + (is_device(in) ? 'D' : 'H') + '2' + (is_device(out) ? 'D' : 'H');
    const uint32_t operation =
        Scheduler::get().enqueue(*stream, name, [=, paged = out == nullptr, staged = std::move(staged)](Operation& o) {
          const uint8_t* source = staged.empty() ? o.read({from, bytes}, "source") : staged.data();
          std::memmove(paged ? static_cast<uint8_t*>(to) : o.write({to, bytes}, "target"), source, bytes);
          return Progress::done;
        });
    // Until the host has synchronised it may neither see the target nor change the source.
    if (is_pinned(out)) memory.guard(to, bytes, PROT_NONE, operation);
    if (is_pinned(in)) memory.guard(from, bytes, PROT_READ, operation);
    if (!out || (!asynchronous && (is_pinned(in) || is_pinned(out)))) wait = {stream->now()};
    return cudaSuccess;
  });
  return wait.empty() ? status : finish(Scheduler::get().synchronize(wait));
}

cudaError_t fill(void* p, int value, size_t bytes, cudaStream_t handle) {
  return call([&] {
    Stream* stream = Scheduler::get().find(handle);
    if (!stream) return refuse("any", "stream");
    const Allocation* a = Memory::get().find(number_of(p));
    if (bytes == 0) return cudaSuccess;
    if (!a || !a->contains(number_of(p), bytes)) return refuse("cudaMemset", "range");
    Scheduler::get().enqueue(*stream, "memset", [=](Operation& o) {
      std::memset(o.write({p, bytes}, "target"), value, bytes);
      return Progress::done;
    });
    return cudaSuccess;
  });
}

}  // namespace
}  // namespace switchyard::simgpu

using namespace switchyard::simgpu;
using Kind = Allocation::Kind;

SIMGPU_API cudaError_t cudaMalloc(void** p, size_t bytes) { return allocate("cudaMalloc", p, bytes, Kind::device); }
SIMGPU_API cudaError_t cudaFree(void* p) { return release("cudaFree", p, Kind::device); }
SIMGPU_API cudaError_t cudaMallocHost(void** p, size_t bytes) {
  return allocate("cudaMallocHost", p, bytes, Kind::pinned);
}
SIMGPU_API cudaError_t cudaFreeHost(void* p) { return release("cudaFreeHost", p, Kind::pinned); }
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
