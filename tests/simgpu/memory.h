// Device and pinned memory. Each lies twice in this process: at the address that the program knows, where device memory
// is inaccessible and pinned memory is while an operation owns it, and at an alias that the engine uses. Addresses are
// never used twice and a gap follows each allocation, so that a stale or overshooting pointer always faults.
#pragma once

#include <signal.h>

#include <bit>
#include <memory>

#include "tests/simgpu/findings.h"

namespace switchyard::simgpu {

// Who touched each byte last. A cell covers 2^shift bytes of one page; a page begins as one cell and is divided as
// finely as accesses need, so that an access never shares a cell with a byte that it leaves alone. Freed with its
// allocation.

// One access in 64 bits: operation 28, interval of a warp within its launch 28, lane 5, `many` lanes of that interval,
// atomic. Zero: no access. An operation that is no kernel has interval 0.
using Access = uint64_t;
constexpr Access kMany = 4, kAtomic = 2;
constexpr Access make_access(uint32_t operation, uint32_t interval, uint32_t lane, bool atomic) {
  return Access{operation} << 36 | Access{interval} << 8 | lane << 3 | (atomic ? kAtomic : 0);
}
constexpr uint32_t operation_of(Access a) { return static_cast<uint32_t>(a >> 36); }
constexpr uint32_t interval_of(Access a) { return static_cast<uint32_t>(a >> 8) & 0xfffffff; }
constexpr uint32_t lane_of(Access a) { return static_cast<uint32_t>(a >> 3) & 31; }
constexpr uint32_t kMostIntervals = 1u << 28;

struct Cell {
  Access write = 0;
  Access read = 0;             // the last one
  Access other_warp = 0;       // the last read of another warp in the same launch
  Access other_operation = 0;  // the last read of another operation that is not known to be before `read`
};

class Shadow {
 public:
  static constexpr size_t kPage = 4096;
  explicit Shadow(size_t bytes) : bytes_(bytes), pages_((bytes + kPage - 1) / kPage) {}

  // The cells of [offset, offset + 2^log2), which is aligned; their number goes to `count`.
  Cell* cells(size_t offset, int log2, uint32_t& count) {
    Page& page = pages_[offset / kPage];
    if (page.shift > log2) divide(page, log2);
    count = 1u << (log2 - page.shift);
    return &page.cells[(offset & (kPage - 1)) >> page.shift];
  }

  // Calls f(cell, offset of its first byte) for any range.
  template <class F>
  void for_each(size_t offset, size_t bytes, F f) {
    for (const size_t end = offset + bytes; offset < end;) {
      const size_t first = offset & ~(kPage - 1);
      const size_t last = end >= bytes_ ? first + kPage : end;  // what lies behind the last byte belongs to nobody
      const size_t stop = last < first + kPage ? last - first : kPage;
      Page& page = pages_[first / kPage];
      const int log2 = std::countr_zero((offset - first) | stop);
      if (page.shift > log2) divide(page, log2);
      for (size_t k = (offset - first) >> page.shift; k < stop >> page.shift && first + (k << page.shift) < end; ++k)
        f(page.cells[k], first + (k << page.shift));
      offset = first + kPage;
    }
  }

 private:
  struct Page {
    std::vector<Cell> cells = std::vector<Cell>(1);
    int shift = 12;
  };
  static void divide(Page& page, int shift) {
    std::vector<Cell> finer(kPage >> shift);
    for (size_t k = 0; k < finer.size(); ++k) finer[k] = page.cells[k >> (page.shift - shift)];
    page.cells = std::move(finer);
    page.shift = shift;
  }

  size_t bytes_;
  std::vector<Page> pages_;
};

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
  static void explain_fault(int signal, siginfo_t* info, void* context);
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
