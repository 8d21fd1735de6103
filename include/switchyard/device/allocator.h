// Memory of one rank. Every allocation states its purpose, so a run can say exactly what weights, gradients, optimizer
// and activations take. Freed blocks are kept and reused: after warm-up a training step asks the system for nothing.
#pragma once

#include "switchyard/device/device.h"

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard {

enum class Purpose : uint8_t { weights, packed, gradients, optimizer, activations, buffers };
constexpr int kNumPurposes = 6;
std::string_view name_of(Purpose purpose);
using BytesByPurpose = std::array<int64_t, kNumPurposes>;

struct MemoryStats {
  int64_t live_bytes = 0;  // asked for and not yet freed
  int64_t peak_bytes = 0;  // largest live_bytes since reset_peaks
};

// Where an allocator takes memory from.
class SystemMemory {
 public:
  virtual ~SystemMemory() = default;
  virtual void* take(int64_t bytes) = 0;  // null: there is no more
  virtual void give_back(void* start, int64_t bytes) = 0;

  Device device = Device::cpu;
  int64_t alignment = 64;          // of blocks
  int64_t segment_unit = 2 << 20;  // segments are multiples of it,
  int64_t min_segment = 32 << 20;  // and no smaller than this;
  bool is_passed_through = false;  // or every block is one of the system's, for tools that watch its bounds
};

// Best fit with splitting and coalescing inside segments taken from the system. For the thread of its rank alone:
// nothing here is locked.
class Allocator {
 public:
  Allocator();  // of the host's memory
  explicit Allocator(std::unique_ptr<SystemMemory> system);
  ~Allocator();
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  // Throws Error(internal), which tells what memory is in use for, when the system has no more.
  void* allocate(int64_t bytes, Purpose purpose);
  void release(void* pointer, int64_t bytes, Purpose purpose);

  MemoryStats stats(Purpose purpose) const { return stats_[static_cast<size_t>(purpose)]; }
  MemoryStats total() const { return total_; }
  int64_t system_allocations() const { return system_allocations_; }  // taken from the system so far
  int64_t system_bytes() const { return system_bytes_; }
  void reset_peaks();

  // Of the calling rank (thread) on a device; kept alive by the storages that came from it.
  static const std::shared_ptr<Allocator>& of(Device device);
  static const std::shared_ptr<Allocator>& current() { return of(current_device()); }

 private:
  struct Block {
    int64_t bytes;
    bool is_free;
    char* segment;    // start of the segment it lies in
    Purpose purpose;  // of one that is not free
  };
  char* take(int64_t bytes, Purpose purpose);  // a segment; `purpose`: what for, for the message
  char* pass_through(int64_t bytes, Purpose purpose);
  char* best_fit(int64_t bytes, Purpose purpose);
  void grow(int64_t bytes, Purpose purpose);
  void give_back_free_segments();
  void count_taken(int64_t bytes);
  std::string usage() const;
  void insert_free(char* start, int64_t bytes, char* segment);

  std::unique_ptr<SystemMemory> system_;
  std::map<char*, Block> blocks_;             // every block by address
  std::set<std::pair<int64_t, char*>> free_;  // free blocks by size
  std::vector<std::pair<char*, int64_t>> segments_;
  std::array<MemoryStats, kNumPurposes> stats_{};
  MemoryStats total_;
  int64_t system_allocations_ = 0, system_bytes_ = 0;
};

}  // namespace switchyard
