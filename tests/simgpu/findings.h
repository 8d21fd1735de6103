// What the simulator was asked (settings), what it drew (one seed) and what it found (reports, counters).
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "tests/simgpu/library.h"

namespace switchyard::simgpu {

// One lock for the whole simulated device: an operation executes under it, and so does each call of the runtime.
std::recursive_mutex& device_mutex();

// SplitMix64: every order that a seed draws. A launch has its own, so that its order does not depend on when it runs.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  uint64_t below(uint64_t bound) { return bound > 1 ? static_cast<uint64_t>((__uint128_t{next()} * bound) >> 64) : 0; }
  template <class Container>
  void shuffle(Container& items) {
    for (size_t k = items.size(); k > 1; --k) std::swap(items[k - 1], items[below(k)]);
  }

 private:
  uint64_t state_;
};
uint64_t seed();

struct Finding {
  std::string kind, text;
  uint64_t count = 1;
};

struct KernelCounters {
  uint64_t launches = 0;
  uint64_t instructions = 0;  // of lanes that were active
  uint64_t warp_instructions = 0;
  uint64_t sectors_read = 0;      // of 32 bytes, global memory
  uint64_t sectors_written = 0;   // an atomic counts here and above
  uint64_t extra_wavefronts = 0;  // of shared memory: bank conflicts
  void operator+=(const KernelCounters& other);
};

struct Counters {
  uint64_t launches = 0;
  uint64_t host_waits = 0;   // calls that wait for the device, and events polled, once for each record
  uint64_t allocations = 0;  // of device memory
  uint64_t pinned_allocations = 0;
  uint64_t kernel_loads = 0;  // kernels whose first launch or attribute call loaded them
};

// Everything that a test or the report at exit reads. Guarded by device_mutex().
struct Journal {
  static Journal& get();
  std::map<std::string, Finding> findings;        // by kind and key
  std::vector<std::string> order;                 // keys, as they were found
  std::map<std::string, KernelCounters> kernels;  // by demangled name
  Counters counters;
};
void write_report_at_exit();
void change_setting(const char* name, const char* value);

}  // namespace switchyard::simgpu
