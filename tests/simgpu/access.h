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

struct Accessor {  // a lane at an instruction, and the bytes that it reads or writes (a power of two)
  Warp& warp;
  const Instruction& instruction;
  uint32_t lane;
  Touch touch;
  uint64_t address;
  uint32_t bytes;
  const void* value = nullptr;  // to be written, since equal ones may be written twice
  bool shared = false;
};
void check_cells(Cell* cells, uint32_t count, const Accessor& a, const uint8_t* data);
void check_not_copying(const Accessor& a);
Allocation& look_up(const Accessor& a);
[[noreturn]] void misaligned(const Accessor& a);
[[noreturn]] void out_of_bounds(const Accessor& a, uint64_t size);

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

inline uint8_t* access_global(const Accessor& a) {
  Window& window = a.instruction.window;
  if (a.address < window.begin || a.address + a.bytes > window.end) {
    Allocation& found = look_up(a);
    window = {found.begin, found.begin + found.bytes, &found};
  }
  const size_t offset = a.address - window.begin;
  uint8_t* data = window.allocation->data + offset;
  uint32_t count = 0;
  Cell* cells = window.allocation->shadow->cells(offset, std::countr_zero(a.bytes), count);
  if (count != 1 || !check_quickly(a.warp, *cells, a.lane, a.touch)) check_cells(cells, count, a, data);
  return data;
}

inline uint8_t* access_shared(Accessor a) {
  Launch& launch = *a.warp.launch;
  a.shared = true;
  if (a.address >= launch.shared_bytes || a.address + a.bytes > launch.shared_bytes)
    out_of_bounds(a, launch.shared_bytes);
  uint8_t* data = launch.shared.data() + a.address;
  if (launch.copies_pending) check_not_copying(a);
  uint32_t count = 0;
  Cell* cells = launch.shared_shadow.cells(a.address, std::countr_zero(a.bytes), count);
  check_cells(cells, count, a, data);
  return data;
}

// A generic address is in the window of shared memory, or global.
inline Space space_of(Space space, uint64_t& address) {
  if (space != Space::generic) return space;
  const uint64_t beyond = address - Memory::get().shared_window();
  if (beyond >= Memory::kWindow) return Space::global;
  address = beyond;
  return Space::shared;
}

// The engine's address of what is read or written.
inline uint8_t* access_bytes(Accessor a) {
  if (a.address & (a.bytes - 1)) misaligned(a);
  const Space space = space_of(a.instruction.space, a.address);
  if (space == Space::global) return access_global(a);
  if (space == Space::shared) return access_shared(a);
  Launch& launch = *a.warp.launch;
  const uint64_t size = space == Space::local ? launch.function.local_bytes : launch.function.parameter_bytes;
  if (a.address >= size || a.address + a.bytes > size) out_of_bounds(a, size);
  if (space == Space::local) return launch.local.data() + (a.warp.index * 32 + a.lane) * size + a.address;
  if (is_write(a.touch)) fault(a.warp, a.instruction, a.lane, "a write to a kernel parameter");
  return const_cast<uint8_t*>(launch.parameters) + a.address;
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
