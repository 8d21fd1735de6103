// A rank's GPU: streams, events, memory that the host can read. In programs with CUDA alone.
#pragma once

#include "switchyard/device/allocator.h"
#include "switchyard/device/range.h"

#include <functional>
#include <string>
#include <utility>

struct CUstream_st;
struct CUevent_st;

namespace switchyard::device {

class Stream;

// A point in a stream's work.
class Event {
 public:
  Event();
  ~Event();
  Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  Event& operator=(Event&& other) noexcept;

  void record(const Stream& stream);  // what has been enqueued so far
  bool is_done() const;               // true also before any record
  void wait() const;                  // the host waits, as wait_until has it
  CUevent_st* get() const { return event_; }

 private:
  CUevent_st* event_ = nullptr;
};

// Work in order, beside that of other streams.
class Stream {
 public:
  Stream();
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  void wait(const Event& event) const;  // what is enqueued from now on
  CUstream_st* get() const { return stream_; }

 private:
  CUstream_st* stream_ = nullptr;
};

// What of the machine is a rank's: its place among the ranks there, and whether no other has the same GPU (see
// address).
struct Place {
  int64_t local_rank = 0, ranks_here = 1;
  bool has_own_gpu = true;
};

// Gives the calling thread, which is a rank, a GPU: number `local_rank` of those that the machine shows, or the only
// one where a launcher shows each rank its own. Throws Error(usage) where there is none, fewer than ranks, or driver or
// card are too old.
struct Options {
  bool has_pool = true;     // false: every allocation is one of the driver's, and every release too
  bool is_checked = false;  // wait after every operation, so that a fault is told where it was made
};
void open(const Place& place, const Options& options);
// Why open() would refuse; empty if it would not.
std::string obstacle(const Place& place);
// On the machine's bus, of the GPU that open() would take; empty where there is none.
std::string address(int64_t local_rank);
bool is_there();  // a GPU, with a driver
bool is_open();
bool is_checked();
std::unique_ptr<Timeline> make_timeline();
std::string describe();  // one line: card, memory, compute capability, driver and toolkit

Stream& compute();        // kernels
Stream& communication();  // what moves between ranks

// The one place where the host waits for a GPU: until the event is done, unless `watch` (of transports, called now and
// then) throws because a peer has failed. How long it may take is the program's watchdog's to say, which ends the
// process from a thread of its own.
void wait_until(const Event& event);
void set_watch(std::function<void()> watch);
int64_t host_waits();  // so far, those that found the event done left out

void copy_bytes(void* to, Device to_device, const void* from, Device from_device, int64_t bytes);  // as device.h has it

void start_copy_to_host(void* pinned, const void* from, int64_t bytes, Event& done);  // in the order of the kernels

// GPU memory, by purpose, like the host's; and page-locked memory of the host.
const std::shared_ptr<Allocator>& memory();
const std::shared_ptr<Allocator>& pinned_memory();

}  // namespace switchyard::device
