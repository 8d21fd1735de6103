// Every access of a kernel to memory: where its bytes are, whether it may touch them (bounds, alignment, bytes that
// have been written, other accesses without order), and what it costs (sectors, wavefronts).
//
// Order within a launch: an access was in an epoch of its warp. A barrier shows a warp the ended epochs of all who came
// to it. A fence ends an epoch and lets the warp's next atomic publish what it has seen; an atomic of another warp
// observes that, and its next fence makes it seen there. Lanes of one warp are ordered by a barrier or __syncwarp
// alone.
#pragma once

#include "tests/simgpu/lanes.h"

namespace switchyard::simgpu {

enum class Touch : uint8_t { read, write, update, strong_read, strong_write };  // update: an atomic, reads and writes
constexpr bool is_strong(Touch t) { return t >= Touch::update; }
constexpr bool is_write(Touch t) { return t != Touch::read && t != Touch::strong_read; }

// What one lane's check found; the rest is for its message.
struct Conflict {
  Warp& warp;
  const Instruction& instruction;
  uint32_t lane;
  Touch touch;
  bool shared;
  uint64_t address;  // of the cell
};
void report_conflict(const Conflict& c, Access other, const char* kind);
void report_unwritten(const Conflict& c);
void report_copying(const Conflict& c);
bool is_ordered(Warp& w, Access earlier, uint32_t lane);

// `value`: the bytes to be written; equal bytes written twice in one launch are no finding.
void check_cells(Cell* cells, uint32_t count, size_t cell_bytes, const Conflict& c, const uint8_t* data,
                 const void* value);

Allocation& look_up(const Warp& w, const Instruction& i, uint64_t address, uint32_t bytes, uint32_t lane, bool writes);
[[noreturn]] void misaligned(const Warp& w, const Instruction& i, uint64_t address, uint32_t bytes, uint32_t lane);
[[noreturn]] void out_of_bounds(const Warp& w, const Instruction& i, uint64_t address, uint64_t size, uint32_t lane,
                                const char* space);

inline uint8_t* access_global(Warp& w, const Instruction& i, uint64_t address, uint32_t bytes, uint32_t lane,
                              Touch touch, const void* value) {
  Window& window = i.window;
  if (address < window.begin || address + bytes > window.end) {
    Allocation& a = look_up(w, i, address, bytes, lane, is_write(touch));
    window = {a.begin, a.begin + a.bytes, &a};
  }
  const size_t offset = address - window.begin;
  uint8_t* data = window.allocation->data + offset;
  if (w.launch->checks) {
    uint32_t count = 0;
    Cell* cells = window.allocation->shadow->cells(offset, std::countr_zero(bytes), count);
    check_cells(cells, count, bytes / count, {w, i, lane, touch, false, address}, data, value);
  }
  return data;
}

inline uint8_t* access_shared(Warp& w, const Instruction& i, uint64_t address, uint32_t bytes, uint32_t lane,
                              Touch touch, const void* value) {
  Launch& launch = *w.launch;
  if (address + bytes > launch.shared_bytes || address + bytes < bytes) {
    out_of_bounds(w, i, address, launch.shared_bytes, lane, "shared");
  }
  uint8_t* data = launch.shared.data() + address;
  if (launch.checks) {
    const Conflict c{w, i, lane, touch, true, address};
    if (launch.copies_pending) {
      for (uint64_t word = address / 4; word <= (address + bytes - 1) / 4; ++word) {
        if (launch.copying[word]) report_copying(c);
      }
    }
    uint32_t count = 0;
    Cell* cells = launch.shared_shadow.cells(address, std::countr_zero(bytes), count);
    check_cells(cells, count, bytes / count, c, data, value);
  }
  return data;
}

// A generic address is in the window of its space, or global.
inline Space space_of(const Warp&, Space space, uint64_t& address) {
  if (space != Space::generic) return space;
  const Memory& memory = Memory::get();
  const uint64_t beyond = address - memory.window(0);
  if (beyond >= 3 * Memory::kWindow) return Space::global;
  address = beyond % Memory::kWindow;
  return beyond < Memory::kWindow ? Space::shared : beyond < 2 * Memory::kWindow ? Space::local : Space::parameter;
}

// The engine's address of `bytes` (a power of two) that a lane reads or writes.
inline uint8_t* access_bytes(Warp& w, const Instruction& i, uint64_t address, uint32_t bytes, uint32_t lane,
                             Touch touch, const void* value = nullptr) {
  if (address & (bytes - 1)) misaligned(w, i, address, bytes, lane);
  const Space space = space_of(w, i.space, address);
  if (space == Space::global) return access_global(w, i, address, bytes, lane, touch, value);
  if (space == Space::shared) return access_shared(w, i, address, bytes, lane, touch, value);
  const bool local = space == Space::local;
  const uint64_t size = local ? w.launch->function.local_bytes : w.launch->function.parameter_bytes;
  if (address + bytes > size || address + bytes < bytes)
    out_of_bounds(w, i, address, size, lane, local ? "local" : "parameter");
  if (local) return w.launch->local.data() + (w.index * 32 + lane) * size + address;
  if (is_write(touch)) fault(w, i, lane, "write to a kernel parameter");
  return const_cast<uint8_t*>(w.launch->parameters) + address;
}

inline uint64_t address_of(Warp& w, const Instruction& i, uint32_t lane) {
  return slots<uint64_t>(w, i.source[0])[lane] + static_cast<uint64_t>(i.immediate);
}

// Counts what a warp's access costs.
void count_sectors(KernelCounters& counters, const uint64_t* addresses, uint32_t active, uint32_t bytes, Touch touch);
void count_wavefronts(KernelCounters& counters, const uint64_t* addresses, uint32_t active, uint32_t bytes);

// Order: what barriers, fences and atomics do.
void begin_interval(Warp& w);
void fence(Warp& w);
void publish(Warp& w, uint64_t address);
void observe(Warp& w, uint64_t address);
void arrive(Barrier& barrier, Warp& w);  // ends its epoch
void leave(const Barrier& barrier, Warp& w);

}  // namespace switchyard::simgpu
