// Device and pinned memory. Each lies twice in this process: at the address that the program knows, where device memory
// is inaccessible and pinned memory is while an operation owns it, and at an alias that the engine uses. Addresses are
// never used twice and a gap follows each allocation, so that a stale or overshooting pointer always faults.
#pragma once

#include <map>
#include <memory>

#include "tests/simgpu/findings.h"
#include "tests/simgpu/shadow.h"

namespace switchyard::simgpu {

enum class Space : uint8_t { shared, local, parameter, global, generic };

struct Allocation {
  enum class Kind : uint8_t { device, pinned };
  uint64_t begin = 0;  // the program's address
  size_t bytes = 0;
  uint8_t* data = nullptr;  // the engine's
  Kind kind = Kind::device;
  uint32_t number = 0;             // counted from 1, for messages
  std::unique_ptr<Shadow> shadow;  // gone once freed
  bool contains(uint64_t address, size_t size) const {
    return address >= begin && size <= bytes && address - begin <= bytes - size;
  }
};

class Memory {
 public:
  static constexpr uint64_t kWindow = 1u << 24;     // of shared memory, for generic addresses
  static constexpr uint64_t kArena = 256ull << 30;  // addresses, not memory
  Memory();
  static Memory& get() { return the<Memory>(); }

  Allocation* allocate(size_t bytes, Allocation::Kind kind);  // nullptr: beyond the limit
  void free(Allocation& allocation);
  Allocation* find(uint64_t address);  // the live allocation that contains the address, or nullptr
  std::string describe(uint64_t address) const;
  bool in_arena(uint64_t address) const { return address - base_ < kArena; }
  uint64_t shared_window() const { return base_ + kArena; }
  size_t used() const { return used_; }
  static size_t limit() { return static_cast<size_t>(setting("MEMORY", int64_t{8} << 30)); }

  // Until the host has seen the operation, the pages that lie wholly in the range allow it only `protection`.
  void guard(const void* begin, size_t bytes, int protection, uint32_t operation);
  void release_guards();

 private:
  struct Guard {
    uint64_t begin, end;
    int protection;
    uint32_t operation;
  };
  static void explain_fault(int signal, void* info, void* context);
  void protect(const Guard& guard);

  uint64_t base_ = 0;
  uint8_t* alias_ = nullptr;
  int file_ = -1;
  size_t top_ = 0, used_ = 0;
  std::map<uint64_t, std::unique_ptr<Allocation>> allocations_;  // also freed ones
  std::vector<Guard> guards_;
};

// Before an operation's first read of a cell: the last reader's operation is kept, unless a later one is already.
void keep_other_operation(Cell& cell);
// Marks a whole range as accessed by an operation, and reports what is not ordered before it. False: it reads bytes
// that nothing has written.
bool touch(uint32_t operation, Allocation& allocation, size_t offset, size_t bytes, bool writes);
void report_unordered(const std::string& key, const std::string& who, uint32_t operation, uint32_t other, bool writes,
                      const std::string& where, const char* kind);

}  // namespace switchyard::simgpu
