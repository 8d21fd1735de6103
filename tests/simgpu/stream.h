// Streams, and the one place that runs what is on them. Operations run when the host waits or asks, in an order among
// streams that the seed draws, and, now and then, as they are enqueued: the same calls give the same order. Only if the
// host makes no call for a while (it waits for another process, say) does a thread of the simulator go on by itself.
#pragma once

#include <deque>
#include <memory>
#include <set>
#include <vector>

#include "tests/simgpu/findings.h"
#include "tests/simgpu/order.h"

namespace switchyard::simgpu {

struct Stream;
struct Wait {
  Stream* stream;
  uint32_t sequence;
};

struct Item {
  uint32_t sequence, operation;
  Body body;  // none: it only waits
  std::vector<Wait> waits;
};

struct Stream {
  uint32_t number = 0;
  bool blocking = true;  // with the legacy default stream
  Clock clock;           // of what has been enqueued
  uint32_t issued = 0, done = 0;
  std::deque<Item> queue;
};

// An operation while it runs, for bodies of this library.
struct RunningOperation final : Operation {
  explicit RunningOperation(uint32_t id_) : id(id_) {}
  const uint8_t* read(const Span& span, const char* what) override { return access(span, what, false); }
  uint8_t* write(const Span& span, const char* what) override { return access(span, what, true); }
  uint8_t* access(const Span& span, const char* what, bool writes) const;
  uint32_t id;
};

class Scheduler {
 public:
  static Scheduler& get();

  // All under device_mutex().
  Stream* create(bool blocking);
  bool destroy(cudaStream_t handle);
  Stream* find(cudaStream_t handle);  // nullptr: no such stream
  const std::set<Stream*>& live() const { return live_; }
  uint32_t enqueue(const std::vector<Stream*>& streams, std::string name, Body body);  // the operation's number
  void wait_for(Stream& stream, Stream& other, uint32_t sequence, const Clock& clock);
  bool step();  // runs or tries one operation; false if none could go on
  cudaError_t sticky() const { return sticky_; }
  const std::string& fault_text() const { return fault_text_; }
  void forget_fault() { sticky_ = cudaSuccess; }
  void set_fault(const Fault& fault);

  // Not under it. Waits until the host has seen `sequence` of the stream; all streams. Returns the sticky status.
  cudaError_t synchronize(Stream& stream, uint32_t sequence, const Clock& clock);
  cudaError_t synchronize_all();
  void host_has_seen(const Clock& clock);  // under it

 private:
  Scheduler();
  bool try_front(Stream& stream);
  void go_on_alone();

  std::vector<std::unique_ptr<Stream>> streams_;  // [0]: the legacy default stream; never removed
  std::set<Stream*> live_;
  cudaError_t sticky_ = cudaSuccess;
  std::string fault_text_;
  uint64_t calls_ = 0;  // of the host, to see whether it is idle
};

}  // namespace switchyard::simgpu
