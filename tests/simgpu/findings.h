// What the simulator was asked (settings), what it drew (one seed) and what it found (reports, counters, operations).
#pragma once

#include <fmt/format.h>

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "tests/simgpu/control.h"
#include "tests/simgpu/library.h"

namespace switchyard::simgpu {

// One lock for the whole simulated device: an operation executes under it, and so does each call of the runtime.
std::recursive_mutex& device_mutex();

// SplitMix64: every order that a seed draws. A launch has its own, so that its order does not depend on when it runs.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t below(uint64_t bound) {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return static_cast<uint64_t>(__uint128_t{z ^ (z >> 31)} * bound >> 64);
  }
  template <class Container>
  void shuffle(Container& items) {
    for (size_t k = items.size(); k > 1; --k) std::swap(items[k - 1], items[below(k)]);
  }

 private:
  uint64_t state_;
};
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
constexpr uint32_t kModuleLoad = 1;  // the operation before all others: variables of a module get their values

class Order {
 public:
  static Order& get();
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
  std::vector<OperationRecord> operations_{kModuleLoad + 1};
};

using KernelCounters = SimgpuKernelCounters;
void add(KernelCounters& sum, const KernelCounters& more);

struct Finding {
  std::string kind, text;
  uint64_t count = 1;
};

// Everything that a test or the report at exit reads. Guarded by device_mutex(). Counters: launches; host_waits: calls
// that wait for the device, and events polled, once for each record, of which the host does not know that they are over;
// allocations, pinned_allocations; kernel_loads.
struct Journal {
  static Journal& get();
  std::vector<std::pair<std::string, Finding>> findings;  // by kind and key
  std::map<std::string, KernelCounters> kernels;          // by readable name
  std::map<std::string, uint64_t> counters;
};
void write_report_at_exit();

}  // namespace switchyard::simgpu
