// Who touched each byte last. A cell covers 2^shift bytes of one page; a page begins as one cell and is divided as
// finely as accesses need, so that an access never shares a cell with a byte that it leaves alone. Freed with its
// allocation.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace switchyard::simgpu {

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
      for (size_t k = (offset - first) >> page.shift; k < stop >> page.shift && first + (k << page.shift) < end; ++k) {
        f(page.cells[k], first + (k << page.shift));
      }
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

}  // namespace switchyard::simgpu
