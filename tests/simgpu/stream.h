// Streams, and the one place that runs what is on them. Operations run when the host waits or asks, in an order among
// streams that the seed draws, and, now and then, as they are enqueued: the same calls give the same order. Only if the
// host makes no call for a while (it waits for another process, say) does a thread of the simulator go on by itself.
#pragma once

#include <deque>
#include <set>

#include "tests/simgpu/findings.h"

namespace switchyard::simgpu {

struct Stream;
struct Moment {  // in the life of a stream: what has been enqueued up to here
  Stream* stream = nullptr;
  uint32_t sequence = 0;
  Clock clock{};
  bool is_over() const;
};

struct Item {
  uint32_t sequence, operation;
  Body body;  // none: it only waits
  Moment after{};
};

struct Stream {
  uint32_t number = 0;
  bool blocking = true;  // with the legacy default stream
  Clock clock{};         // of what has been enqueued
  uint32_t issued = 0, done = 0;
  std::deque<Item> queue{};
  Moment now() { return {this, issued, clock}; }
};
inline bool Moment::is_over() const { return !stream || stream->done >= sequence; }

class Scheduler {
 public:
  Scheduler();
  static Scheduler& get() { return the<Scheduler>(); }

  // All under device_mutex().
  Stream* create(bool blocking);
  bool destroy(cudaStream_t handle);
  Stream* find(cudaStream_t handle);                              // nullptr: no such stream
  uint32_t enqueue(Stream& stream, std::string name, Body body);  // the operation's number
  void wait_for(Stream& stream, const Moment& moment);            // what follows on the stream does
  bool step();  // runs or tries one operation; false if none could go on
  void host_has_seen(const Clock& clock);
  std::vector<Moment> now() const;  // of all streams
  cudaError_t sticky() const { return sticky_; }
  void forget_fault() { sticky_ = cudaSuccess; }

  // Not under it: the host waits. The sticky status.
  cudaError_t synchronize(const std::vector<Moment>& moments);

 private:
  bool try_front(Stream& stream);
  void go_on_alone();

  std::deque<Stream> made_;       // all, as moments point to them
  std::vector<Stream*> streams_;  // by number, from 1; [0]: the legacy default stream
  std::set<Stream*> live_;
  cudaError_t sticky_ = cudaSuccess;
  uint64_t calls_ = 0;  // of the host, to see whether it is idle
};

}  // namespace switchyard::simgpu
