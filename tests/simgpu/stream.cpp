// The scheduler of streams, and what library.h offers.
#include "tests/simgpu/stream.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "tests/simgpu/memory.h"

namespace switchyard::simgpu {

Scheduler::Scheduler() {
  create(true);
  std::thread([this] { go_on_alone(); }).detach();
}

// In the place, and so the number in all clocks, of a destroyed stream whose work the host has seen, if there is one:
// whatever is enqueued here comes after that. Otherwise clocks would grow with each stream of a test.
Stream* Scheduler::create(bool blocking) {
  const auto at = std::find_if(streams_.begin(), streams_.end(), [&](Stream* s) {
    return !live_.count(s) && s->queue.empty() && reached(Order::get().host, s->number) >= s->issued;
  });
  const auto next = static_cast<uint32_t>(streams_.size() + 1);  // 0 is the host
  Stream& s = made_.emplace_back(at == streams_.end() ? Stream{.number = next} : **at);
  s.blocking = blocking;
  live_.insert(&s);
  return at == streams_.end() ? streams_.emplace_back(&s) : *at = &s;
}

Stream* Scheduler::find(cudaStream_t handle) {
  if (!handle || handle == cudaStreamLegacy) return streams_[0];
  auto* s = reinterpret_cast<Stream*>(handle);
  return live_.count(s) ? s : nullptr;
}

bool Scheduler::destroy(cudaStream_t handle) {
  Stream* s = find(handle);
  return s && s != streams_[0] && live_.erase(s);
}

void Scheduler::wait_for(Stream& stream, const Moment& moment) {
  join(stream.clock, moment.clock);
  if (&stream != moment.stream && !moment.is_over()) stream.queue.push_back({++stream.issued, 0, {}, moment});
}

uint32_t Scheduler::enqueue(Stream& s, std::string name, Body body) {
  ++calls_;
  Stream& standard = *streams_[0];
  for (Stream* other : live_)
    if (&s == &standard ? other->blocking : other == &standard && s.blocking) wait_for(s, other->now());
  join(s.clock, Order::get().host);
  s.clock.resize(std::max<size_t>(s.clock.size(), s.number + 1));
  s.clock[s.number] = ++s.issued;
  const uint32_t operation = Order::get().add({std::move(name), s.number, s.issued, s.clock});
  s.queue.push_back({s.issued, operation, std::move(body)});
  if (draw(4) == 0) step();
  return operation;
}

bool Scheduler::try_front(Stream& stream) {
  Item& item = stream.queue.front();
  if (!item.after.is_over()) return false;
  if (item.body && sticky_ == cudaSuccess) {
    Operation operation(item.operation);
    try {
      if (item.body(operation) == Progress::waiting) return false;
    } catch (const Fault& fault) {
      sticky_ = fault.status;
      Journal::get().fault = fault.what();
      fmt::print(stderr, "simgpu: device fault: {}\n", fault.what());
    }
  }
  stream.done = item.sequence;
  stream.queue.pop_front();
  return true;
}

bool Scheduler::step() {
  std::vector<Stream*> ready;
  for (Stream* s : streams_)
    if (!s->queue.empty()) ready.push_back(s);
  while (!ready.empty()) {
    const auto chosen = ready.begin() + static_cast<ptrdiff_t>(draw(ready.size()));
    if (try_front(**chosen)) return true;
    ready.erase(chosen);
  }
  return false;
}

void Scheduler::host_has_seen(const Clock& clock) {
  join(Order::get().host, clock);
  Memory::get().release_guards();
}

std::vector<Moment> Scheduler::now() const {
  std::vector<Moment> all;
  for (Stream* s : streams_) all.push_back(s->now());
  return all;
}

cudaError_t Scheduler::synchronize(const std::vector<Moment>& moments) {
  std::unique_lock lock(device_mutex());
  ++Journal::get().counters["host_waits"];
  while (!std::all_of(moments.begin(), moments.end(), [](const Moment& m) { return m.is_over(); })) {
    ++calls_;
    if (step()) continue;
    lock.unlock();
    std::this_thread::sleep_for(std::chrono::microseconds(20));
    lock.lock();
  }
  for (const Moment& m : moments) host_has_seen(m.clock);
  return sticky_;
}

void Scheduler::go_on_alone() {
  for (uint64_t seen = 0;;) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
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

uint8_t* Operation::access(const Span& span, const char* what, bool writes) const {
  const auto begin = reinterpret_cast<uint64_t>(span.begin);
  if (span.row_bytes == 0 || span.rows == 0) return const_cast<uint8_t*>(static_cast<const uint8_t*>(span.begin));
  const size_t bytes = (span.rows - 1) * span.stride + span.row_bytes;
  const bool dense = span.rows == 1 || span.stride == span.row_bytes;
  Allocation* a = Memory::get().find(begin);
  const std::string& name = Order::get()[number].name;
  const std::string place = Memory::get().describe(begin);
  if (!a || !a->contains(begin, bytes))
    throw Fault(cudaErrorIllegalAddress, fmt::format("{}: {} is {} bytes at {}", name, what, bytes, place));
  uint8_t* data = a->data + (begin - a->begin);
  bool written = true;
  for (size_t r = 0; r < (dense ? 1 : span.rows); ++r)
    written &= touch(number, *a, begin - a->begin + r * span.stride, dense ? bytes : span.row_bytes, writes);
  if (!written && a->kind != Allocation::Kind::pinned) {
    report("uninitialised device memory read", name + what,
           fmt::format("{}: {} has bytes that nothing has written, from {}", name, what, place));
  }
  return data;
}

cudaError_t enqueue(cudaStream_t handle, std::string name, Body body) {
  const std::lock_guard lock(device_mutex());
  Scheduler& scheduler = Scheduler::get();
  if (scheduler.sticky() != cudaSuccess) return scheduler.sticky();
  Stream* stream = scheduler.find(handle);
  if (!stream) return cudaErrorInvalidResourceHandle;
  scheduler.enqueue(*stream, std::move(name), std::move(body));
  return scheduler.sticky();
}

}  // namespace switchyard::simgpu
