// What the simulator was asked (settings), what it drew (one seed) and what it found (reports, counters, operations).
#pragma once

#include <fmt/format.h>

#include <map>
#include <mutex>
#include <random>
#include <vector>

#include "tests/simgpu/control.h"
#include "tests/simgpu/library.h"

namespace switchyard::simgpu {

// The one object of its type, never destroyed: threads and handlers may outlive main.
template <class T>
T& the() {
  static auto* object = new T;
  return *object;
}

// One lock for the whole simulated device: an operation executes under it, and so does each call of the runtime.
inline std::recursive_mutex& device_mutex() { return the<std::recursive_mutex>(); }

// Every order that a seed draws. A launch has its own, so that its order does not depend on when it runs.
using Random = std::mt19937_64;
uint64_t seed();
std::string setting_text(const char* name);  // empty: not set
void change_setting(const char* name, const char* value);

// What happens before what among operations on streams. Each has a clock from the moment it is enqueued: what its
// stream, the events it waits for and the host had reached. Order is never taken from the time at which things ran.
using Clock = std::vector<uint32_t>;  // for each stream the last sequence number that is known to be over
void join(Clock& clock, const Clock& other);
inline uint32_t reached(const Clock& clock, uint32_t stream) { return stream < clock.size() ? clock[stream] : 0; }

struct OperationRecord {
  std::string name;
  uint32_t stream = 0;    // 0: the host itself
  uint32_t sequence = 0;  // its place in its stream
  Clock clock;
};

class Order {
 public:
  static Order& get() { return the<Order>(); }
  uint32_t add(OperationRecord record);
  uint32_t add_host_operation(const char* name);  // of the host now: a free
  const std::vector<OperationRecord>& operations() const { return operations_; }
  const OperationRecord& operator[](uint32_t id) const { return operations_[id]; }
  bool before(uint32_t earlier, uint32_t later) const {
    const OperationRecord& e = operations_[earlier];
    return earlier == later || reached(operations_[later].clock, e.stream) >= e.sequence;
  }
  Clock host;  // what the host has synchronised with, all of its threads alike

 private:
  std::vector<OperationRecord> operations_{1};  // [0]: none
};

using KernelCounters = SimgpuKernelCounters;
void add(KernelCounters& sum, const KernelCounters& more);

struct Finding {
  std::string kind, text;
  uint64_t count = 0;
};

// Everything that a test or the report at exit reads. Guarded by device_mutex(). Counters: launches; host_waits: calls
// that wait for the device, and events polled, once for each record, of which the host does not know that they are
// over; allocations, pinned_allocations; kernel_loads.
struct Journal {
  static Journal& get() { return the<Journal>(); }
  std::map<std::string, Finding> findings;        // by kind and key
  std::map<std::string, KernelCounters> kernels;  // by readable name
  std::map<std::string, uint64_t> counters;
  std::string fault;  // the last of the device
};
// How often each kernel that is there has run, by the name that nvcc gave; no test forgets it.
struct Runs : std::map<std::string, uint64_t> {};

}  // namespace switchyard::simgpu
