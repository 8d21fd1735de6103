// Streams and events. An event is what its stream had been given when it was recorded; recording again makes a new one,
// so that waits already enqueued keep theirs.
#include <chrono>
#include <set>

#include "tests/simgpu/runtime.h"

namespace switchyard::simgpu {
namespace {

using TimePoint = std::chrono::steady_clock::time_point;

struct Event {
  bool timing = true;
  Stream* stream = nullptr;  // nullptr: never recorded
  uint32_t sequence = 0;
  Clock clock;
  bool counted = true;  // as a host wait
  std::shared_ptr<TimePoint> reached;
  bool is_over() const { return !stream || stream->done >= sequence; }
};

std::set<Event*>& events() {
  static auto* all = new std::set<Event*>;
  return *all;
}
Event* find_event(cudaEvent_t handle) {
  auto* e = reinterpret_cast<Event*>(handle);
  return events().count(e) ? e : nullptr;
}

cudaError_t create_stream(cudaStream_t* handle, bool blocking) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return error;
  const std::lock_guard lock(device_mutex());
  *handle = reinterpret_cast<cudaStream_t>(Scheduler::get().create(blocking));
  return finish(cudaSuccess);
}

// Work goes on while the host asks, and an answer that it is over is knowledge that the host has.
cudaError_t query(const Clock& clock, bool over) {
  if (over) {
    Scheduler::get().host_has_seen(clock);
    return finish(cudaSuccess);
  }
  Scheduler::get().step();
  return finish(cudaErrorNotReady);
}

}  // namespace
}  // namespace switchyard::simgpu

using namespace switchyard::simgpu;

SIMGPU_API cudaError_t cudaStreamCreate(cudaStream_t* stream) { return create_stream(stream, true); }
SIMGPU_API cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  if (flags & ~static_cast<unsigned>(cudaStreamNonBlocking)) return refuse("cudaStreamCreateWithFlags", "flags");
  return create_stream(stream, !(flags & cudaStreamNonBlocking));
}
SIMGPU_API cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int) {
  return cudaStreamCreateWithFlags(stream, flags);
}
SIMGPU_API cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return finish(cudaSuccess);
}
SIMGPU_API cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const std::lock_guard lock(device_mutex());
  return Scheduler::get().destroy(stream) ? finish(cudaSuccess) : refuse("any", "stream");
}
SIMGPU_API cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return finish(error);
  std::unique_lock lock(device_mutex());
  Stream* stream = Scheduler::get().find(handle);
  if (!stream) return refuse("any", "stream");
  const uint32_t sequence = stream->issued;
  const Clock clock = stream->clock;
  lock.unlock();
  return finish(Scheduler::get().synchronize(*stream, sequence, clock));
}
SIMGPU_API cudaError_t cudaDeviceSynchronize() {
  if (const cudaError_t error = usable(); error != cudaSuccess) return finish(error);
  return finish(Scheduler::get().synchronize_all());
}
SIMGPU_API cudaError_t cudaStreamQuery(cudaStream_t handle) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return finish(error);
  const std::lock_guard lock(device_mutex());
  Stream* stream = Scheduler::get().find(handle);
  if (!stream) return refuse("any", "stream");
  return query(stream->clock, stream->done >= stream->issued);
}
SIMGPU_API cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return finish(error);
  const std::lock_guard lock(device_mutex());
  Stream* stream = Scheduler::get().find(handle);
  const Event* e = find_event(event);
  if (!stream || !e) return refuse("any", stream ? "event" : "stream");
  if (e->stream) Scheduler::get().wait_for(*stream, *e->stream, e->sequence, e->clock);
  return finish(cudaSuccess);
}
SIMGPU_API cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  return finish(switchyard::simgpu::enqueue(stream, "host function", [=](Operation&) {
    function(data);
    return Progress::done;
  }));
}

SIMGPU_API cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return error;
  const std::lock_guard lock(device_mutex());
  if (flags & ~(cudaEventBlockingSync | cudaEventDisableTiming | cudaEventInterprocess))
    return refuse("cudaEventCreateWithFlags", "flags");
  auto* e = new Event;
  e->timing = !(flags & cudaEventDisableTiming);
  events().insert(e);
  *event = reinterpret_cast<cudaEvent_t>(e);
  return finish(cudaSuccess);
}
SIMGPU_API cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, 0); }
SIMGPU_API cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const std::lock_guard lock(device_mutex());
  Event* e = find_event(event);
  if (!e) return refuse("any", "event");
  events().erase(e);
  delete e;
  return finish(cudaSuccess);
}
SIMGPU_API cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t handle) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return finish(error);
  const std::lock_guard lock(device_mutex());
  Scheduler& scheduler = Scheduler::get();
  Stream* stream = scheduler.find(handle);
  Event* e = find_event(event);
  if (!stream || !e) return refuse("any", stream ? "event" : "stream");
  auto at = std::make_shared<TimePoint>();
  scheduler.enqueue({stream}, "event record", [at](Operation&) {
    *at = std::chrono::steady_clock::now();
    return Progress::done;
  });
  e->stream = stream;
  e->sequence = stream->issued;
  e->clock = stream->clock;
  e->counted = false;
  e->reached = at;
  return finish(cudaSuccess);
}
SIMGPU_API cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned) {
  return cudaEventRecord(event, stream);
}
SIMGPU_API cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return finish(error);
  std::unique_lock lock(device_mutex());
  Event* e = find_event(event);
  if (!e) return refuse("any", "event");
  if (!e->stream) return finish(cudaSuccess);
  e->counted = true;
  Stream& stream = *e->stream;
  const uint32_t sequence = e->sequence;
  const Clock clock = e->clock;
  lock.unlock();
  return finish(Scheduler::get().synchronize(stream, sequence, clock));
}
SIMGPU_API cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return finish(error);
  const std::lock_guard lock(device_mutex());
  Event* e = find_event(event);
  if (!e) return refuse("any", "event");
  if (!e->counted) {
    e->counted = true;
    ++Journal::get().counters.host_waits;
  }
  return query(e->clock, e->is_over());
}
SIMGPU_API cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
  const std::lock_guard lock(device_mutex());
  const Event *a = find_event(from), *b = find_event(to);
  if (!a || !b) return refuse("any", "event");
  if (!a->timing || !b->timing || !a->stream || !b->stream)
    return refuse("cudaEventElapsedTime", "event without timing or record");
  if (!a->is_over() || !b->is_over()) return finish(cudaErrorNotReady);
  *milliseconds = std::chrono::duration<float, std::milli>(*b->reached - *a->reached).count();
  return finish(cudaSuccess);
}
