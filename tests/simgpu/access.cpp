// Checks of accesses within and between launches; access.h says what counts as order.
#include "tests/simgpu/access.h"

#include <algorithm>

namespace switchyard::simgpu {
namespace {

void join(Epochs& epochs, const Epochs& other) {
  for (size_t k = 0; k < epochs.size(); ++k) epochs[k] = std::max(epochs[k], other[k]);
}
void join(Seen& seen, const Seen& other) {
  for (const auto& [block, epochs] : other) join(seen[block], epochs);
}
void join(Knowledge& known, const Knowledge& other) {
  join(known.seen, other.seen);
  join(known.acquired, other.acquired);
  join(known.fenced, other.fenced);
  join(known.observed, other.observed);
}

bool is_ordered(Warp& w, Access earlier, uint32_t lane) {
  Launch& launch = *w.launch;
  const uint32_t operation = operation_of(earlier);
  if (operation != launch.operation) {
    uint32_t& known = launch.known_before[operation % launch.known_before.size()];
    if (known != operation && !Order::get().before(operation, launch.operation)) return false;
    known = operation;
    return true;
  }
  const Interval& then = launch.intervals[interval_of(earlier)];
  if (then.block != w.block) {
    const auto found = w.known.acquired.find(then.block);
    return found != w.known.acquired.end() && then.epoch <= found->second[then.warp];
  }
  if (then.warp != w.index) return then.epoch <= w.known.seen[then.warp];
  return then.syncs != w.syncs || (lane_of(earlier) == lane && !(earlier & kMany));
}

// Of an atomic: the same shared address is another place in each block.
uint64_t location(const Warp& w, uint64_t address) {
  return Memory::get().in_arena(address) ? address : address ^ uint64_t { w.block + 1 } << 48;
}

// Shared memory is another block's, or a launch's before, until something has been written to it.
bool is_stale(const Launch& launch, Access a) {
  return operation_of(a) != launch.operation || interval_of(a) < launch.first_interval;
}

void note_read(Cell& cell, Access me, const Launch& launch) {
  if (cell.read == me) return;
  if ((cell.read ^ me) >> 8 == 0) {  // the same interval
    me |= lane_of(cell.read) != lane_of(me) ? kMany : cell.read & kMany;
  } else if (cell.read && operation_of(cell.read) != launch.operation) {
    keep_other_operation(cell);
  } else if (cell.read) {
    const Interval &then = launch.intervals[interval_of(cell.read)], &now = launch.intervals[interval_of(me)];
    if (then.warp != now.warp || then.block != now.block) cell.other_warp = cell.read;
  }
  cell.read = me;
}

std::string where(const Accessor& a) { return where(a.warp, a.instruction, a.lane); }
std::string place(const Accessor& a) {
  return a.shared ? fmt::format("shared byte {}", a.address) : Memory::get().describe(a.address);
}
std::string key(const Accessor& a, const char* kind) {
  return fmt::format("{}:{}:{}", a.warp.launch->function.name, a.instruction.ptx_line, kind);
}

void report_conflict(const Accessor& a, Access other, const char* kind) {
  const Launch& launch = *a.warp.launch;
  if (operation_of(other) != launch.operation) {
    return report_unordered(key(a, kind), where(a), launch.operation, operation_of(other), is_write(a.touch), place(a),
                            kind);
  }
  const Interval& then = launch.intervals[interval_of(other)];
  report(a.shared ? "shared memory race" : "device memory race", key(a, kind),
         fmt::format("{} in {}, other access by block {} thread {}, {}", kind, where(a), then.block,
                     then.warp * 32 + lane_of(other), place(a)));
}

}  // namespace

std::string where(const Warp& w, const Instruction& i, uint32_t lane) {
  const Function& f = w.launch->function;
  const std::string line = i.line ? fmt::format(" at {}:{}", f.module->file(i.file), i.line) : "";
  const std::string from = i.from_line ? fmt::format(" from {}:{}", f.module->file(i.from_file), i.from_line) : "";
  return fmt::format("{}{}{} (PTX line {} '{}') block {} thread {}", f.readable_name, line, from, i.ptx_line, i.text,
                     w.block, w.index * 32 + lane);
}

void fault(const Warp& w, const Instruction& i, uint32_t lane, const std::string& what, cudaError_t status) {
  throw Fault(status, what + " in " + where(w, i, lane));
}
void misaligned(const Accessor& a) {
  const std::string place = Memory::get().describe(a.address);
  fault(a.warp, a.instruction, a.lane, fmt::format("a misaligned access of {} bytes to {}", a.bytes, place),
        cudaErrorMisalignedAddress);
}
void out_of_bounds(const Accessor& a, uint64_t size) {
  fault(a.warp, a.instruction, a.lane,
        fmt::format("an access to byte {} of {} in shared, local or parameter memory", a.address, size));
}
Allocation& look_up(const Accessor& a) {
  Allocation* found = Memory::get().find(a.address);
  if (found && found->contains(a.address, a.bytes)) return *found;
  fault(a.warp, a.instruction, a.lane,
        fmt::format("an illegal {} of {} bytes at {}", is_write(a.touch) ? "write" : "read", a.bytes, place(a)));
}

void check_not_copying(const Accessor& a) {
  for (uint64_t word = a.address / 4; word <= (a.address + a.bytes - 1) / 4; ++word) {
    if (a.warp.launch->copying[word]) report("cp.async not waited for", key(a, ""), where(a) + ", " + place(a));
  }
}

void check_cells(Cell* cells, uint32_t count, const Accessor& a, const uint8_t* data) {
  const uint32_t cell_bytes = a.bytes / count;
  Warp& w = a.warp;
  const Launch& launch = *w.launch;
  const bool strong = is_strong(a.touch), writes = is_write(a.touch);
  const Access me = w.access | a.lane << 3 | (strong ? kAtomic : 0);
  auto clashes = [&](Access earlier) {
    if (!earlier || (strong && (earlier & kAtomic))) return false;
    return ((earlier ^ me) >> 3 != 0 || (earlier & kMany)) && !is_ordered(w, earlier, a.lane);
  };
  auto at = [&](uint32_t k) {
    Accessor here = a;
    here.address += k * cell_bytes;
    return here;
  };
  for (uint32_t k = 0; k < count; ++k) {
    Cell& cell = cells[k];
    if (a.shared && is_stale(launch, cell.write)) cell.write = 0;
    if (a.shared && is_stale(launch, cell.read)) cell.read = cell.other_warp = 0;
    if (!writes && cell.read == me && cell.write && !(cell.write & kAtomic)) continue;  // it has looked before
    if (!cell.write && (!writes || a.touch == Touch::update) &&
        (a.shared || a.instruction.window.allocation->kind != Allocation::Kind::pinned)) {
      report(a.shared ? "uninitialised shared memory read" : "uninitialised device memory read", key(a, ""),
             where(a) + ", " + place(at(k)));
    }
    if (clashes(cell.write)) {
      const uint32_t from = k * cell_bytes;
      const bool same = writes && a.value && operation_of(cell.write) == launch.operation &&
                        std::memcmp(data + from, static_cast<const uint8_t*>(a.value) + from, cell_bytes) == 0;
      if (!same) report_conflict(at(k), cell.write, writes ? "write after write" : "read after write");
    }
    if (!writes) {
      note_read(cell, me, launch);
      continue;
    }
    for (Access read : {cell.read, cell.other_warp, cell.other_operation})
      if (clashes(read)) report_conflict(at(k), read, "write after read");
    cell.write = me;
    if (!strong) cell.read = cell.other_warp = cell.other_operation = 0;
  }
}

void count_sectors(KernelCounters& counters, const uint64_t* addresses, uint32_t active, Touch touch) {
  std::array<uint64_t, 32> sectors;
  auto end = sectors.begin();
  bool ascending = true;
  for_lanes(active, [&](uint32_t l) {
    const uint64_t sector = addresses[l] / 32;
    if (end != sectors.begin() && sector == end[-1]) return;
    ascending &= end == sectors.begin() || sector > end[-1];
    *end++ = sector;
  });
  if (!ascending) {
    std::sort(sectors.begin(), end);
    end = std::unique(sectors.begin(), end);
  }
  const auto count = static_cast<uint64_t>(end - sectors.begin());
  if (touch != Touch::write && touch != Touch::strong_write) counters.sectors_read += count;
  if (is_write(touch)) counters.sectors_written += count;
}

// 32 banks of 4 bytes; lanes that use one word share it. 8 and 16 bytes go by half and quarter warps.
void count_wavefronts(KernelCounters& counters, const uint64_t* addresses, uint32_t active, uint32_t bytes) {
  const uint32_t words = std::max(1u, bytes / 4), lanes = 32 / words;
  for (uint32_t first = 0; first < 32; first += lanes) {
    const uint32_t part = active >> first & (lanes == 32 ? ~0u : (1u << lanes) - 1);
    std::array<uint8_t, 32> depth{};  // distinct words so far, by bank
    std::array<std::array<uint64_t, 32>, 32> list;
    uint32_t most = 1;
    for_lanes(part, [&](uint32_t l) {
      for (uint64_t word = addresses[first + l] / 4, stop = word + words; word < stop; ++word) {
        auto& bank = list[word & 31];
        uint8_t& used = depth[word & 31];
        if (std::find(bank.begin(), bank.begin() + used, word) != bank.begin() + used) continue;
        bank[used++] = word;
        most = std::max<uint32_t>(most, used);
      }
    });
    counters.extra_wavefronts += most - 1;
  }
}

void begin_interval(Warp& w) {
  Launch& launch = *w.launch;
  if (launch.intervals.size() >= kMostIntervals)
    throw Fault(cudaErrorUnknown, "simgpu: a launch too long for the checks");
  w.access = make_access(launch.operation, static_cast<uint32_t>(launch.intervals.size()), 0, false);
  launch.intervals.push_back({w.block, w.epoch, w.syncs, w.index});
}

void fence(Warp& w) {
  Knowledge& k = w.known;
  for (const auto& [block, epochs] : k.observed) join(block == w.block ? k.seen : k.acquired[block], epochs);
  k.observed.clear();
  k.fenced = k.acquired;
  Epochs& own = k.fenced[w.block] = k.seen;
  own[w.index] = w.epoch++;
  begin_interval(w);
}

void publish(Warp& w, uint64_t address) {
  if (!w.known.fenced.empty()) join(w.launch->published[location(w, address)], w.known.fenced);
}

void observe(Warp& w, uint64_t address) {
  if (w.launch->published.empty()) return;
  const auto found = w.launch->published.find(location(w, address));
  if (found != w.launch->published.end()) join(w.known.observed, found->second);
}

void arrive(Barrier& barrier, Warp& w) {
  join(barrier.known, w.known);
  barrier.known.seen[w.index] = std::max(barrier.known.seen[w.index], w.epoch++);
}

void leave(const Barrier& barrier, Warp& w) {
  join(w.known, barrier.known);
  ++w.syncs;
}

}  // namespace switchyard::simgpu
