// The scheduler of streams, and what library.h offers.
#include "tests/simgpu/stream.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "tests/simgpu/memory.h"

namespace switchyard::simgpu {

Scheduler& Scheduler::get() {
  static auto* scheduler = new Scheduler;
  return *scheduler;
}

Scheduler::Scheduler() {
  create(true);
  std::thread([this] { go_on_alone(); }).detach();
}

Stream* Scheduler::create(bool blocking) {
  auto s = std::make_unique<Stream>();
  s->number = static_cast<uint32_t>(streams_.size() + 1);  // 0 is the host
  s->blocking = blocking;
  live_.insert(s.get());
  streams_.push_back(std::move(s));
  return streams_.back().get();
}

Stream* Scheduler::find(cudaStream_t handle) {
  if (!handle || handle == cudaStreamLegacy) return streams_[0].get();
  auto* s = reinterpret_cast<Stream*>(handle);
  return live_.count(s) ? s : nullptr;
}

bool Scheduler::destroy(cudaStream_t handle) {
  Stream* s = find(handle);
  return s && s != streams_[0].get() && live_.erase(s);
}

void Scheduler::wait_for(Stream& stream, Stream& other, uint32_t sequence, const Clock& clock) {
  join(stream.clock, clock);
  if (&stream != &other && sequence > other.done)
    stream.queue.push_back({++stream.issued, 0, {}, {{&other, sequence}}});
}

uint32_t Scheduler::enqueue(const std::vector<Stream*>& streams, std::string name, Body body) {
  ++calls_;
  Stream &s = *streams[0], &standard = *streams_[0];
  Order& order = Order::get();
  if (&s == &standard) {
    for (Stream* other : live_) {
      if (other->blocking) wait_for(s, *other, other->issued, other->clock);
    }
  } else if (s.blocking) {
    wait_for(s, standard, standard.issued, standard.clock);
  }
  for (Stream* other : streams) wait_for(s, *other, other->issued, other->clock);
  join(s.clock, order.host);
  const uint32_t sequence = ++s.issued;
  if (s.clock.size() <= s.number) s.clock.resize(s.number + 1);
  s.clock[s.number] = sequence;
  const uint32_t operation = order.add({std::move(name), s.number, sequence, s.clock});
  s.queue.push_back({sequence, operation, std::move(body), {}});
  for (Stream* other : streams) wait_for(*other, s, sequence, s.clock);
  if (draw(4) == 0) step();
  return operation;
}

bool Scheduler::try_front(Stream& stream) {
  // The body may enqueue (it must not, but a deque's elements stay where they are if it does).
  Item& item = stream.queue.front();
  for (const Wait& w : item.waits) {
    if (w.stream->done < w.sequence) return false;
  }
  if (item.body && sticky_ == cudaSuccess) {
    RunningOperation operation(item.operation);
    try {
      if (item.body(operation) == Progress::waiting) return false;
    } catch (const Fault& fault) {
      set_fault(fault);
    }
  }
  stream.done = item.sequence;
  stream.queue.pop_front();
  return true;
}

bool Scheduler::step() {
  std::vector<Stream*> ready;
  for (const auto& s : streams_) {
    if (!s->queue.empty()) ready.push_back(s.get());
  }
  while (!ready.empty()) {
    const size_t k = draw(ready.size());
    if (try_front(*ready[k])) return true;
    ready.erase(ready.begin() + static_cast<ptrdiff_t>(k));
  }
  return false;
}

void Scheduler::set_fault(const Fault& fault) {
  if (sticky_ == cudaSuccess) {
    sticky_ = fault.status;
    fault_text_ = fault.what();
  }
  std::fprintf(stderr, "simgpu: device fault: %s\n", fault.what());
}

void Scheduler::host_has_seen(const Clock& clock) {
  join(Order::get().host, clock);
  Memory::get().release_guards();
}

cudaError_t Scheduler::synchronize(Stream& stream, uint32_t sequence, const Clock& clock) {
  std::unique_lock lock(device_mutex());
  ++Journal::get().counters.host_waits;
  while (stream.done < sequence) {
    ++calls_;
    if (step()) continue;
    lock.unlock();
    std::this_thread::sleep_for(std::chrono::microseconds(20));
    lock.lock();
  }
  host_has_seen(clock);
  return sticky_;
}

cudaError_t Scheduler::synchronize_all() {
  std::unique_lock lock(device_mutex());
  ++Journal::get().counters.host_waits;
  Clock all;
  for (const auto& s : streams_) join(all, s->clock);
  auto is_over = [&] {
    return std::all_of(streams_.begin(), streams_.end(),
                       [&](const auto& s) { return s->done >= reached(all, s->number) || s->queue.empty(); });
  };
  while (!is_over()) {
    ++calls_;
    if (step()) continue;
    lock.unlock();
    std::this_thread::sleep_for(std::chrono::microseconds(20));
    lock.lock();
  }
  host_has_seen(all);
  return sticky_;
}

void Scheduler::go_on_alone() {
  uint64_t seen = 0;
  for (;;) {
    std::this_thread::sleep_for(std::chrono::milliseconds(setting("IDLE_MS", 20)));
    std::unique_lock lock(device_mutex());
    const bool idle = calls_ == seen;
    seen = calls_;
    while (idle && calls_ == seen && step()) {
      lock.unlock();
      std::this_thread::yield();
      lock.lock();
    }
  }
}

uint8_t* RunningOperation::access(const Span& span, const char* what, bool writes) const {
  Memory& memory = Memory::get();
  const auto begin = reinterpret_cast<uint64_t>(span.begin);
  if (span.row_bytes == 0 || span.rows == 0) return const_cast<uint8_t*>(static_cast<const uint8_t*>(span.begin));
  const bool dense = span.rows == 1 || span.stride == span.row_bytes;
  const size_t bytes = (span.rows - 1) * span.stride + span.row_bytes;
  Allocation* a = memory.find(begin);
  const std::string& name = Order::get()[id].name;
  if (!a || !a->contains(begin, bytes)) {
    throw Fault(cudaErrorIllegalAddress, name + ": " + what + (writes ? " writes " : " reads ") +
                                             std::to_string(bytes) + " bytes at " + memory.describe(begin));
  }
  const size_t offset = begin - a->begin;
  bool written = true;
  if (setting("CHECKS", 1)) {
    for (size_t r = 0; r < (dense ? 1 : span.rows); ++r) {
      written &= touch(id, *a, offset + r * span.stride, dense ? bytes : span.row_bytes, writes);
    }
  }
  if (!written && a->kind != Allocation::Kind::pinned) {
    report("uninitialised device memory read", name + what,
           name + ": " + what + " reads bytes that nothing has written, from " + memory.describe(begin));
  }
  return a->data + offset;
}

cudaError_t enqueue(const std::vector<cudaStream_t>& handles, std::string name, Body body) {
  const std::lock_guard lock(device_mutex());
  Scheduler& scheduler = Scheduler::get();
  if (scheduler.sticky() != cudaSuccess) return scheduler.sticky();
  std::vector<Stream*> streams;
  for (cudaStream_t handle : handles) {
    Stream* s = scheduler.find(handle);
    if (!s) return cudaErrorInvalidResourceHandle;
    if (std::find(streams.begin(), streams.end(), s) == streams.end()) streams.push_back(s);
  }
  if (streams.empty()) return cudaErrorInvalidResourceHandle;
  scheduler.enqueue(streams, std::move(name), std::move(body));
  return scheduler.sticky();
}

cudaError_t enqueue(cudaStream_t stream, std::string name, Body body) {
  return enqueue(std::vector<cudaStream_t>{stream}, std::move(name), std::move(body));
}

bool is_device_memory(const void* p) {
  const std::lock_guard lock(device_mutex());
  Memory& memory = Memory::get();
  const auto address = reinterpret_cast<uint64_t>(p);
  return memory.in_arena(address) && !is_pinned_memory(p);
}

bool is_pinned_memory(const void* p) {
  const std::lock_guard lock(device_mutex());
  const Allocation* a = Memory::get().find(reinterpret_cast<uint64_t>(p));
  return a && a->kind == Allocation::Kind::pinned;
}

}  // namespace switchyard::simgpu
