// Every access of a kernel to memory: where its bytes are, whether it may touch them (bounds, alignment, bytes that
// have been written, other accesses without order), and what it costs (sectors, wavefronts).
//
// Order within a launch: an access was in an epoch of its warp. A barrier shows a warp the ended epochs of all who came
// to it. A fence ends an epoch and lets the warp's next atomic publish what it has seen; an atomic of another warp
// observes that, and its next fence makes it seen there. Lanes of one warp are ordered by a barrier or __syncwarp
// alone.
#pragma once

#include "tests/simgpu/warp.h"

namespace switchyard::simgpu {

enum class Touch : uint8_t { read, write, update, strong_read, strong_write };  // update: an atomic, reads and writes
constexpr bool is_strong(Touch t) { return t >= Touch::update; }
constexpr bool is_write(Touch t) { return t != Touch::read && t != Touch::strong_read; }

struct Accessor {  // who, and what it is doing; `value`: the bytes to be written, since equal ones may be written twice
  Warp& warp;
  const Instruction& instruction;
  uint32_t lane;
  Touch touch;
  bool shared;
  uint64_t address;
  const uint8_t* data;
  const void* value;
};
void check_cells(Cell* cells, uint32_t count, uint32_t cell_bytes, const Accessor& a);

// The frequent cases: nobody has touched the cell but this lane, or operations that are known to be before this one.
inline bool is_settled(const Launch& launch, Access earlier, Access me) {
  const uint32_t operation = operation_of(earlier);
  return !earlier || !((earlier ^ me) >> 2) || launch.known_before[operation % launch.known_before.size()] == operation;
}
inline bool check_quickly(const Warp& w, Cell& cell, uint32_t lane, Touch touch) {
  const Access me = w.access | lane << 3;
  if (!is_settled(*w.launch, cell.write, me)) return false;
  if (touch == Touch::read) {
    if (!cell.write || (cell.read && cell.read != me)) return false;
    cell.read = me;
    return true;
  }
  if (touch != Touch::write || !is_settled(*w.launch, cell.read, me) || cell.other_warp || cell.other_operation)
    return false;
  cell = {me, 0, 0, 0};
  return true;
}

void check_not_copying(const Accessor& a, uint32_t bytes);
Allocation& look_up(const Warp& w, const Instruction& i, uint64_t address, uint32_t bytes, uint32_t lane, bool writes);
[[noreturn]] void misaligned(const Warp& w, const Instruction& i, uint64_t address, uint32_t bytes, uint32_t lane);
[[noreturn]] void out_of_bounds(const Warp& w, const Instruction& i, uint64_t address, uint64_t size, uint32_t lane);

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
    if (count == 1 && check_quickly(w, *cells, lane, touch)) return data;
    check_cells(cells, count, bytes / count, {w, i, lane, touch, false, address, data, value});
  }
  return data;
}

inline uint8_t* access_shared(Warp& w, const Instruction& i, uint64_t address, uint32_t bytes, uint32_t lane,
                              Touch touch, const void* value) {
  Launch& launch = *w.launch;
  if (address >= launch.shared_bytes || address + bytes > launch.shared_bytes)
    out_of_bounds(w, i, address, launch.shared_bytes, lane);
  uint8_t* data = launch.shared.data() + address;
  if (launch.checks) {
    const Accessor a{w, i, lane, touch, true, address, data, value};
    if (launch.copies_pending) check_not_copying(a, bytes);
    uint32_t count = 0;
    Cell* cells = launch.shared_shadow.cells(address, std::countr_zero(bytes), count);
    check_cells(cells, count, bytes / count, a);
  }
  return data;
}

// A generic address is in the window of its space, or global.
inline Space space_of(Space space, uint64_t& address) {
  if (space != Space::generic) return space;
  const uint64_t beyond = address - Memory::get().window(Space::shared);
  if (beyond >= 3 * Memory::kWindow) return Space::global;
  address = beyond % Memory::kWindow;
  return static_cast<Space>(beyond / Memory::kWindow);
}

// The engine's address of `bytes` (a power of two) that a lane reads or writes.
inline uint8_t* access_bytes(Warp& w, const Instruction& i, uint64_t address, uint32_t bytes, uint32_t lane,
                             Touch touch, const void* value = nullptr) {
  if (address & (bytes - 1)) misaligned(w, i, address, bytes, lane);
  const Space space = space_of(i.space, address);
  if (space == Space::global) return access_global(w, i, address, bytes, lane, touch, value);
  if (space == Space::shared) return access_shared(w, i, address, bytes, lane, touch, value);
  const Function& f = w.launch->function;
  const uint64_t size = space == Space::local ? f.local_bytes : f.parameter_bytes;
  if (address >= size || address + bytes > size) out_of_bounds(w, i, address, size, lane);
  if (space == Space::local) return w.launch->local.data() + (w.index * 32 + lane) * size + address;
  if (is_write(touch)) fault(w, i, lane, "a write to a kernel parameter");
  return const_cast<uint8_t*>(w.launch->parameters) + address;
}

inline uint64_t address_of(Warp& w, const Instruction& i, uint32_t lane) {
  return slots<uint64_t>(w, i.source[0])[lane] + static_cast<uint64_t>(i.immediate);
}

// Count what a warp's access costs.
void count_sectors(KernelCounters& counters, const uint64_t* addresses, uint32_t active, Touch touch);
void count_wavefronts(KernelCounters& counters, const uint64_t* addresses, uint32_t active, uint32_t bytes);

// Order: what barriers, fences and atomics do.
void begin_interval(Warp& w);
void fence(Warp& w);
void publish(Warp& w, uint64_t address);
void observe(Warp& w, uint64_t address);
void arrive(Barrier& barrier, Warp& w);  // ends its epoch
void leave(const Barrier& barrier, Warp& w);

}  // namespace switchyard::simgpu
