// Checks of accesses within and between launches; access.h says what counts as order.
#include "tests/simgpu/access.h"

#include <algorithm>

namespace switchyard::simgpu {

void join(Epochs& epochs, const Epochs& other) {
  for (size_t k = 0; k < epochs.size(); ++k) epochs[k] = std::max(epochs[k], other[k]);
}
void join(Seen& seen, const Seen& other) {
  for (const auto& [block, epochs] : other) join(seen[block], epochs);
}

std::string where(const Warp& w, const Instruction& i, uint32_t lane) {
  const Function& f = w.launch->function;
  std::string text = f.readable_name;
  if (i.line) text += " at " + f.module->file(i.file) + ':' + std::to_string(i.line);
  text += " (PTX line " + std::to_string(i.ptx_line) + " '" + std::string(i.text) + "') block " +
          std::to_string(w.block) + " thread " + std::to_string(w.index * 32 + lane);
  return text;
}

void fault(const Warp& w, const Instruction& i, uint32_t lane, const std::string& what, cudaError_t status) {
  throw Fault(status, what + " in " + where(w, i, lane));
}

void misaligned(const Warp& w, const Instruction& i, uint64_t address, uint32_t bytes, uint32_t lane) {
  fault(w, i, lane, "misaligned access of " + std::to_string(bytes) + " bytes to " + Memory::get().describe(address),
        cudaErrorMisalignedAddress);
}

void out_of_bounds(const Warp& w, const Instruction& i, uint64_t address, uint64_t size, uint32_t lane,
                   const char* space) {
  fault(w, i, lane,
        std::string(space) + " memory access to byte " + std::to_string(address) + " of " + std::to_string(size));
}

Allocation& look_up(const Warp& w, const Instruction& i, uint64_t address, uint32_t bytes, uint32_t lane, bool writes) {
  Allocation* a = Memory::get().find(address);
  if (!a || !a->contains(address, bytes)) {
    fault(w, i, lane,
          std::string("illegal ") + (writes ? "write" : "read") + " of " + std::to_string(bytes) + " bytes at " +
              Memory::get().describe(address));
  }
  return *a;
}

bool is_ordered(Warp& w, Access earlier, uint32_t lane) {
  Launch& launch = *w.launch;
  const uint32_t operation = operation_of(earlier);
  if (operation != launch.operation) {
    if (operation == launch.known_before) return true;
    if (!Order::get().before(operation, launch.operation)) return false;
    launch.known_before = operation;
    return true;
  }
  const Interval& then = launch.intervals[interval_of(earlier)];
  if (then.block == w.block) {
    if (then.warp == w.index) return then.syncs != w.syncs || (lane_of(earlier) == lane && !(earlier & kMany));
    return then.epoch <= w.seen[then.warp];
  }
  const auto found = w.acquired.find(then.block);
  return found != w.acquired.end() && then.epoch <= found->second[then.warp];
}

namespace {

std::string at(const Conflict& c) {
  return c.shared ? "shared byte " + std::to_string(c.address) : Memory::get().describe(c.address);
}

std::string key(const Conflict& c, const char* kind) {
  return c.warp.launch->function.name + std::to_string(c.instruction.ptx_line) + kind;
}

// Shared memory is another block's, or a launch's before, until something has been written to it.
bool is_stale(const Launch& launch, Access a) {
  return operation_of(a) != launch.operation || interval_of(a) < launch.first_interval;
}

void note_read(Cell& cell, Access me, const Launch& launch) {
  constexpr Access kWhere = ~Access{0xff};
  if (cell.read == me) return;
  if (!((cell.read ^ me) & kWhere)) {
    if (lane_of(cell.read) != lane_of(me)) me |= kMany;
    me |= cell.read & kMany;
  } else if (cell.read && operation_of(cell.read) != launch.operation) {
    keep_other_operation(cell, Order::get());
  } else if (cell.read) {
    const Interval &then = launch.intervals[interval_of(cell.read)], &now = launch.intervals[interval_of(me)];
    if (then.warp != now.warp || then.block != now.block) cell.other_warp = cell.read;
  }
  cell.read = me;
}

}  // namespace

void report_conflict(const Conflict& c, Access other, const char* kind) {
  const Launch& launch = *c.warp.launch;
  const std::string here = where(c.warp, c.instruction, c.lane);
  if (operation_of(other) != launch.operation) {
    const Order& order = Order::get();
    const OperationRecord &o = order[operation_of(other)], &mine = order[launch.operation];
    report("unordered stream operations", key(c, kind) + o.name,
           here + " (stream " + std::to_string(mine.stream) + ") " + (is_write(c.touch) ? "writes " : "reads ") +
               at(c) + " with no ordering after '" + o.name + "' (stream " + std::to_string(o.stream) + "): " + kind);
    return;
  }
  const Interval& then = launch.intervals[interval_of(other)];
  report(c.shared ? "shared memory race" : "device memory race", key(c, kind),
         std::string(kind) + " in " + here + ", other access by block " + std::to_string(then.block) + " thread " +
             std::to_string(then.warp * 32 + lane_of(other)) + ", " + at(c));
}

void report_unwritten(const Conflict& c) {
  report(c.shared ? "uninitialised shared memory read" : "uninitialised device memory read", key(c, ""),
         where(c.warp, c.instruction, c.lane) + ", " + at(c));
}

void report_copying(const Conflict& c) {
  report("cp.async not waited for", key(c, ""), where(c.warp, c.instruction, c.lane) + ", " + at(c));
}

void check_cells(Cell* cells, uint32_t count, size_t cell_bytes, const Conflict& c, const uint8_t* data,
                 const void* value) {
  Warp& w = c.warp;
  const Launch& launch = *w.launch;
  const bool strong = is_strong(c.touch), writes = is_write(c.touch);
  const Access me = make_access(launch.operation, w.interval, c.lane, strong);
  Conflict here = c;
  auto clashes = [&](Access earlier) {
    return earlier && (earlier ^ me) >> 3 != 0 && !(strong && (earlier & kAtomic)) && !is_ordered(w, earlier, c.lane);
  };
  for (uint32_t k = 0; k < count; ++k, here.address += cell_bytes) {
    Cell& cell = cells[k];
    if (c.shared && cell.write && is_stale(launch, cell.write)) cell = Cell{};
    if (c.shared && cell.read && is_stale(launch, cell.read)) cell = Cell{};
    if (!writes && cell.read == me && !(cell.write & kAtomic) && cell.write) continue;
    if ((!writes || c.touch == Touch::update) && !cell.write) {
      const bool host_writes = !c.shared && c.instruction.window.allocation->kind == Allocation::Kind::pinned;
      if (!host_writes) report_unwritten(here);
    }
    if (clashes(cell.write)) {
      const bool same =
          writes && value && operation_of(cell.write) == launch.operation &&
          std::memcmp(data + k * cell_bytes, static_cast<const uint8_t*>(value) + k * cell_bytes, cell_bytes) == 0;
      if (!same) report_conflict(here, cell.write, writes ? "write after write" : "read after write");
    }
    if (!writes) {
      note_read(cell, me, launch);
      continue;
    }
    for (Access read : {cell.read, cell.other_warp, cell.other_operation}) {
      if (clashes(read) || ((read & kMany) && (read ^ me) >> 3 == 0)) report_conflict(here, read, "write after read");
    }
    cell.write = me;
    if (!strong) cell.read = cell.other_warp = cell.other_operation = 0;
  }
}

void count_sectors(KernelCounters& counters, const uint64_t* addresses, uint32_t active, uint32_t bytes, Touch touch) {
  std::array<uint64_t, 32> sectors;
  uint32_t count = 0;
  bool ascending = true;
  for_lanes(active, [&](int l) {
    const uint64_t sector = addresses[l] / 32;
    if (count && sector == sectors[count - 1]) return;
    if (count && sector < sectors[count - 1]) ascending = false;
    sectors[count++] = sector;
  });
  if (!ascending) {
    std::sort(sectors.begin(), sectors.begin() + count);
    count = static_cast<uint32_t>(std::unique(sectors.begin(), sectors.begin() + count) - sectors.begin());
  }
  if (bytes > 32) count *= bytes / 32;
  if (touch != Touch::write && touch != Touch::strong_write) counters.sectors_read += count;
  if (is_write(touch)) counters.sectors_written += count;
}

// 32 banks of 4 bytes; lanes that read one word share it. 8 and 16 bytes go by half and quarter warps.
void count_wavefronts(KernelCounters& counters, const uint64_t* addresses, uint32_t active, uint32_t bytes) {
  const uint32_t words = std::max(1u, bytes / 4), lanes = 32 / words;
  for (uint32_t first = 0; first < 32; first += lanes) {
    const uint32_t part = active >> first & (lanes == 32 ? ~0u : (1u << lanes) - 1);
    if (!part) continue;
    std::array<uint8_t, 32> depth{};  // distinct words so far, by bank
    static thread_local std::array<std::array<uint64_t, 32>, 32> list;
    uint32_t most = 1;
    for_lanes(part, [&](int l) {
      for (uint32_t k = 0; k < words; ++k) {
        const uint64_t word = addresses[first + static_cast<uint32_t>(l)] / 4 + k;
        const uint32_t bank = word & 31;
        const auto end = list[bank].begin() + depth[bank];
        if (std::find(list[bank].begin(), end, word) != end) continue;
        list[bank][depth[bank]++] = word;
        most = std::max<uint32_t>(most, depth[bank]);
      }
    });
    counters.extra_wavefronts += most - 1;
  }
}

void begin_interval(Warp& w) {
  Launch& launch = *w.launch;
  if (launch.intervals.size() >= kMostIntervals)
    throw Fault(cudaErrorUnknown, "simgpu: a launch too long for the checks");
  w.interval = static_cast<uint32_t>(launch.intervals.size());
  launch.intervals.push_back({w.block, w.epoch, w.syncs, static_cast<uint8_t>(w.index)});
}

void fence(Warp& w) {
  for (const auto& [block, epochs] : w.observed) {
    if (block == w.block) {
      join(w.seen, epochs);
    } else {
      join(w.acquired[block], epochs);
    }
  }
  w.observed.clear();
  w.fenced = w.acquired;
  Epochs& own = w.fenced[w.block] = w.seen;
  own[w.index] = w.epoch++;
  begin_interval(w);
}

void publish(Warp& w, uint64_t address) {
  if (!w.fenced.empty()) join(w.launch->published[address], w.fenced);
}

void observe(Warp& w, uint64_t address) {
  const auto& published = w.launch->published;
  if (published.empty()) return;
  if (auto found = published.find(address); found != published.end()) join(w.observed, found->second);
}

void arrive(Barrier& barrier, Warp& w) {
  join(barrier.seen, w.seen);
  barrier.seen[w.index] = std::max(barrier.seen[w.index], w.epoch++);
  join(barrier.acquired, w.acquired);
  join(barrier.fenced, w.fenced);
}

void leave(const Barrier& barrier, Warp& w) {
  join(w.seen, barrier.seen);
  join(w.acquired, barrier.acquired);
  join(w.fenced, barrier.fenced);
  ++w.syncs;
}

}  // namespace switchyard::simgpu
