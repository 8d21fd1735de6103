// Streams and events. An event is what its stream had been given when it was recorded; recording again makes a new one,
// so that waits already enqueued keep theirs.
#include <chrono>
#include <utility>

#include "tests/simgpu/runtime.h"

namespace switchyard::simgpu {
namespace {

using TimePoint = std::chrono::steady_clock::time_point;
struct Event {
  bool timing = true;
  Moment moment{};      // without a stream: never recorded
  bool counted = true;  // as a host wait
  std::shared_ptr<TimePoint> reached{};
};

using Events = std::set<Event*>;

// Calls body(stream) or body(event), or refuses a handle that is none.
template <class F>
cudaError_t with(cudaStream_t handle, F body) {
  return call([&] {
    Stream* s = Scheduler::get().find(handle);
    return s ? body(*s) : refuse("any", "stream");
  });
}
template <class F>
cudaError_t with(cudaEvent_t handle, F body) {
  return call([&] {
    auto* e = reinterpret_cast<Event*>(handle);
    return the<Events>().count(e) ? body(*e) : refuse("any", "event");
  });
}

cudaError_t wait(cudaError_t status, const std::vector<Moment>& moments) {
  return status == cudaSuccess ? finish(Scheduler::get().synchronize(moments)) : status;
}

}  // namespace
}  // namespace switchyard::simgpu

using namespace switchyard::simgpu;

SIMGPU_API cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return call([&] {
    if (flags > cudaStreamNonBlocking) return refuse("cudaStreamCreateWithFlags", "flags");
    Stream* made = Scheduler::get().create(flags != cudaStreamNonBlocking);
    return *stream = reinterpret_cast<cudaStream_t>(made), cudaSuccess;
  });
}
SIMGPU_API cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return call([&] { return Scheduler::get().destroy(stream) ? cudaSuccess : refuse("any", "stream"); });
}
SIMGPU_API cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  Moment now;
  const cudaError_t status = with(stream, [&](Stream& s) { return now = s.now(), cudaSuccess; });
  return wait(status, {now});
}
SIMGPU_API cudaError_t cudaDeviceSynchronize() {
  std::vector<Moment> now;
  const cudaError_t status = call([&] { return now = Scheduler::get().now(), cudaSuccess; });
  return wait(status, now);
}
SIMGPU_API cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  return with(stream, [&](Stream& s) {
    return with(event, [&](Event& e) {
      if (e.moment.stream) Scheduler::get().wait_for(s, e.moment);
      return cudaSuccess;
    });
  });
}
SIMGPU_API cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return call([&] {
    if (flags > (cudaEventBlockingSync | cudaEventDisableTiming)) return refuse("cudaEventCreateWithFlags", "flags");
    auto* e = new Event{!(flags & cudaEventDisableTiming)};
    the<Events>().insert(e);
    return *event = reinterpret_cast<cudaEvent_t>(e), cudaSuccess;
  });
}
SIMGPU_API cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, 0); }
SIMGPU_API cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return with(event, [](Event& e) { return the<Events>().erase(&e), delete &e, cudaSuccess; });
}
SIMGPU_API cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return with(stream, [&](Stream& s) {
    return with(event, [&](Event& e) {
      e.reached = std::make_shared<TimePoint>();
      Scheduler::get().enqueue(s, "event record", [at = e.reached](Operation&) {
        return *at = std::chrono::steady_clock::now(), Progress::done;
      });
      e.moment = s.now();
      return e.counted = false, cudaSuccess;
    });
  });
}
SIMGPU_API cudaError_t cudaEventQuery(cudaEvent_t event) {
  return with(event, [](Event& e) {
    // Whether it is over by now is chance; that the host has not waited for anything later is not.
    const Moment& m = e.moment;
    if (m.stream && reached(Order::get().host, m.stream->number) < m.sequence && !std::exchange(e.counted, true))
      ++Journal::get().counters["host_waits"];
    // Work goes on while the host asks, and an answer that it is over is knowledge that the host has.
    if (m.is_over()) return Scheduler::get().host_has_seen(m.clock), cudaSuccess;
    Scheduler::get().step();
    return cudaErrorNotReady;
  });
}
SIMGPU_API cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
  return with(from, [&](Event& a) {
    return with(to, [&](Event& b) {
      if (!a.timing || !b.timing || !a.moment.stream || !b.moment.stream)
        return refuse("cudaEventElapsedTime", "event without timing or record");
      if (!a.moment.is_over() || !b.moment.is_over()) return cudaErrorNotReady;
      return *milliseconds = std::chrono::duration<float, std::milli>(*b.reached - *a.reached).count(), cudaSuccess;
    });
  });
}
