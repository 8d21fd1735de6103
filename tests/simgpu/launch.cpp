// Blocks, warps, divergence and barriers. Lanes of a warp that are at different places form groups; the one furthest
// behind runs, so that groups meet again where their ways do. A warp runs until it exits or waits at a barrier.
#include <algorithm>
#include <numeric>

#include "tests/simgpu/access.h"

namespace switchyard::simgpu {
namespace {

void add_group(Warp& w, uint32_t at, uint32_t lanes) {
  auto place = w.groups.end();
  while (place != w.groups.begin() && place[-1].at < at) --place;
  if (place != w.groups.begin() && place[-1].at == at)
    place[-1].lanes |= lanes;
  else
    w.groups.insert(place, {at, lanes});
}

class Block {
 public:
  Block(Launch& launch, std::vector<Warp>& warps) : launch_(launch), warps_(warps) {}

  void run() {
    std::vector<Warp*> order;
    for (Warp& w : warps_) order.push_back(&w);
    while (running()) {
      bool moved = false;
      launch_.random.shuffle(order);
      for (Warp* w : order) {
        if (w->groups.empty() || w->barrier >= 0) continue;
        run_warp(*w);
        complete_barriers();
        moved = true;
      }
      if (!moved) report_stuck();
    }
  }

 private:
  uint32_t running() const {
    return static_cast<uint32_t>(
        std::count_if(warps_.begin(), warps_.end(), [](const Warp& w) { return !w.groups.empty(); }));
  }

  void run_warp(Warp& w) {
    const Instruction* code = launch_.function.code.data();
    uint64_t warp_instructions = 0, instructions = 0;
    while (!w.groups.empty() && w.barrier < 0) {
      const uint32_t next = w.groups.size() > 1 ? w.groups[w.groups.size() - 2].at : ~0u, lanes = w.groups.back().lanes;
      uint32_t at = w.groups.back().at, active = 0;
      const Instruction* i = nullptr;
      do {  // straight on, until lanes part or meet
        i = &code[at];
        active = lanes;
        if (i->predicate >= 0) {
          const uint32_t p = *reinterpret_cast<const uint32_t*>(w.registers + i->predicate);
          active &= i->negated ? ~p : p;
        }
        ++warp_instructions;
        instructions += static_cast<uint64_t>(std::popcount(active));
        if (i->flow != Flow::next) break;
        if (active) i->run(w, *i, active);
        ++at;
      } while (at < next);
      w.groups.pop_back();
      if (at >= next)
        add_group(w, at, lanes);
      else
        turn(w, *i, at, lanes, active);
      if (warp_instructions > patience_)
        fault(w, *i, 0, "a warp that does not come to an end (does it wait for another?)", cudaErrorLaunchTimeout);
    }
    launch_.counters.warp_instructions += warp_instructions;
    launch_.counters.instructions += instructions;
  }

  void turn(Warp& w, const Instruction& i, uint32_t at, uint32_t lanes, uint32_t active) {
    if (lanes & ~active) add_group(w, at + 1, lanes & ~active);
    if (!active) return;
    if (i.flow == Flow::branch) return add_group(w, static_cast<uint32_t>(i.target), active);
    if (i.flow == Flow::barrier) return come_to_barrier(w, i, at, active);
    w.alive &= ~active;
    if (!w.alive) arrive(exited_, w);
  }

  void come_to_barrier(Warp& w, const Instruction& i, uint32_t at, uint32_t active) {
    const auto lane = static_cast<uint32_t>(std::countr_zero(active));
    auto refuse = [&](const std::string& what) { fault(w, i, lane, what, cudaErrorLaunchFailure); };
    if (active != w.alive)
      refuse(fmt::format("a barrier that lane {} of the warp has not come to", std::countr_zero(w.alive & ~active)));
    const uint32_t number = slots<uint32_t>(w, i.source[0])[lane],
                   threads = i.source[1] ? slots<uint32_t>(w, i.source[1])[lane] : 0;
    if (number >= barriers_.size() || threads % 32) refuse(fmt::format("barrier {} of {} threads", number, threads));
    Barrier& b = barriers_[number];
    const bool reduces = i.kind >= kCount;
    if (b.arrived && (b.expected != threads || b.reduces != reduces))
      refuse("a barrier that others came to in another way");
    b.expected = threads;
    b.reduces = reduces;
    ++b.arrived;
    arrive(b, w);
    if (reduces) {
      b.count += static_cast<uint32_t>(std::popcount(bits(w, i.source[2]) & active));
      b.lanes += static_cast<uint32_t>(std::popcount(active));
    }
    add_group(w, at + (i.kind == kArrive), active);
    if (i.kind == kArrive) return begin_interval(w);
    w.barrier = static_cast<int>(number);
    b.waiting.push_back(&w);
  }

  void complete_barriers() {
    for (Barrier& b : barriers_) {
      if (!b.arrived || b.arrived < (b.expected ? b.expected / 32 : running())) continue;
      for (Warp* w : b.waiting) {
        const Instruction& i = launch_.function.code[w->groups.back().at++];
        if (i.kind == kCount)
          store_lanes<uint32_t>(*w, i.d, w->alive, [&](int) { return b.count; });
        else if (b.reduces)
          set_bits(*w, i.d, w->alive, (i.kind == kAllOf ? b.count == b.lanes : b.count > 0) ? ~0u : 0);
        leave(b, *w);
        if (!b.expected) leave(exited_, *w);  // a barrier of all: also what the exited ones did is over
        begin_interval(*w);
        w->barrier = -1;
      }
      b = Barrier{};
    }
  }

  void report_stuck() {
    for (const Warp& w : warps_) {
      if (w.barrier < 0) continue;
      const uint32_t arrived = barriers_[static_cast<size_t>(w.barrier)].arrived;
      fault(w, launch_.function.code[w.groups.back().at], 0,
            fmt::format("a barrier that only {} warps come to", arrived), cudaErrorLaunchTimeout);
    }
  }

  Launch& launch_;
  const uint64_t patience_ =
      static_cast<uint64_t>(setting("PATIENCE", 400'000'000));  // instructions of a warp between barriers
  std::vector<Warp>& warps_;
  std::array<Barrier, 16> barriers_;
  Barrier exited_;
};

void run_block(Launch& launch, std::vector<Warp>& warps, uint32_t number) {
  launch.first_interval = static_cast<uint32_t>(launch.intervals.size());
  std::fill(launch.shared.begin(), launch.shared.end(), uint8_t{0xff});
  for (Warp& w : warps) {
    Warp fresh;
    fresh.registers = w.registers, fresh.constants_end = w.constants_end;
    fresh.launch = &launch, fresh.index = w.index, fresh.block = number;
    const auto lanes = std::min<uint64_t>(32, launch.block.count() - w.index * 32);
    fresh.alive = static_cast<uint32_t>((uint64_t{1} << lanes) - 1);
    w = std::move(fresh);
    add_group(w, 0, w.alive);
    begin_interval(w);
    for (const auto& [value, to] : launch.function.specials) {
      store_lanes<uint32_t>(w, to, ~0u, [&, of = value](int l) {
        return of({launch.block, launch.grid, w.index * 32 + static_cast<uint32_t>(l), number, launch.dynamic_shared,
                   launch.shared_bytes});
      });
    }
  }
  Block(launch, warps).run();
  for (const Warp& w : warps) {
    if (w.pending.empty()) continue;
    report("cp.async not waited for", launch.function.name,
           where(w, *w.pending[0].instruction, w.pending[0].lane) + ", at the end");
    launch.copies_pending = 0;
    std::fill(launch.copying.begin(), launch.copying.end(), false);
  }
}

uint8_t* align64(uint8_t* p) {
  return reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(p) + 63) & ~uintptr_t{63});
}

}  // namespace

const std::map<std::string_view, SpecialValue>& special_registers() {
  using Of = const LaneInfo&;
  static const std::map<std::string_view, SpecialValue> all = {
      {"tid.x", [](Of i) { return i.thread % i.block.x; }},
      {"tid.y", [](Of i) { return i.thread / i.block.x % i.block.y; }},
      {"tid.z", [](Of i) { return i.thread / i.block.x / i.block.y; }},
      {"ntid.x", [](Of i) { return i.block.x; }},
      {"ntid.y", [](Of i) { return i.block.y; }},
      {"ntid.z", [](Of i) { return i.block.z; }},
      {"ctaid.x", [](Of i) { return i.index % i.grid.x; }},
      {"ctaid.y", [](Of i) { return i.index / i.grid.x % i.grid.y; }},
      {"ctaid.z", [](Of i) { return i.index / i.grid.x / i.grid.y; }},
      {"nctaid.x", [](Of i) { return i.grid.x; }},
      {"nctaid.y", [](Of i) { return i.grid.y; }},
      {"nctaid.z", [](Of i) { return i.grid.z; }},
      {"laneid", [](Of i) { return i.thread % 32; }},
      {"warpid", [](Of i) { return i.thread / 32; }},
      {"nwarpid", [](Of i) { return static_cast<uint32_t>((i.block.count() + 31) / 32); }},
      {"lanemask_eq", [](Of i) { return 1u << i.thread % 32; }},
      {"lanemask_lt", [](Of i) { return (1u << i.thread % 32) - 1; }},
      {"lanemask_le", [](Of i) { return (2u << i.thread % 32) - 1; }},
      {"lanemask_gt", [](Of i) { return ~((2u << i.thread % 32) - 1); }},
      {"lanemask_ge", [](Of i) { return ~((1u << i.thread % 32) - 1); }},
      {"dynamic_smem_size", [](Of i) { return i.dynamic_shared; }},
      {"total_smem_size", [](Of i) { return i.shared; }}};
  return all;
}

void run_launch(const Function& f, uint32_t operation, Extent grid, Extent block, uint32_t dynamic_shared,
                const std::vector<uint8_t>& parameters) {
  const uint64_t warp_count = (block.count() + 31) / 32;
  Launch launch(f, operation, grid, block);
  launch.dynamic_shared = dynamic_shared;
  launch.parameters = parameters.data();
  launch.shared_bytes = (f.uses_dynamic_shared ? f.dynamic_shared_begin() : f.shared_bytes) + dynamic_shared;
  launch.shared_shadow = Shadow(launch.shared_bytes + 16);
  launch.shared.resize(launch.shared_bytes + 16);
  launch.copying.resize(launch.shared_bytes / 4 + 4);
  launch.local.resize(warp_count * 32 * f.local_bytes);
  for (const Instruction& i : f.code) i.window = Window{};

  const size_t bytes = (f.register_bytes + 63) / 64 * 64, constants = (f.constants.size() + 63) / 64 * 64;
  std::vector<uint8_t> registers(bytes * warp_count + constants + 64);
  uint8_t* first = align64(registers.data());
  uint8_t* constants_end = first + bytes * warp_count + constants;
  std::copy(f.constants.begin(), f.constants.end(), constants_end - f.constants.size());
  std::vector<Warp> warps(warp_count);
  for (size_t k = 0; k < warp_count; ++k) {
    warps[k].index = static_cast<uint32_t>(k);
    warps[k].registers = first + bytes * k;
    warps[k].constants_end = constants_end;
  }
  std::vector<uint32_t> order(grid.count());
  std::iota(order.begin(), order.end(), 0u);
  launch.random.shuffle(order);
  for (uint32_t number : order) run_block(launch, warps, number);

  ++launch.counters.launches;
  add(Journal::get().kernels[f.readable_name], launch.counters);
}

}  // namespace switchyard::simgpu
