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
      std::shuffle(order.begin(), order.end(), launch_.random);
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
    const bool reduces = i.kind == kOr;
    if (b.arrived && (b.expected != threads || b.reduces != reduces))
      refuse("a barrier that others came to in another way");
    b.expected = threads;
    b.reduces = reduces;
    ++b.arrived;
    arrive(b, w);
    if (reduces) b.any |= (bits(w, i.source[2]) & active) != 0;
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
        if (b.reduces) set_bits(*w, i.d, w->alive, b.any ? ~0u : 0);
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

uint32_t value_of(const SpecialRegister& r, const Warp& w, int lane) {
  const bool is_block = r.kind == SpecialRegister::ctaid;
  const Extent& extent = is_block || r.kind == SpecialRegister::nctaid ? w.launch->grid : w.launch->block;
  if (r.kind == SpecialRegister::ntid || r.kind == SpecialRegister::nctaid) return extent.at(r.axis);
  uint32_t index = is_block ? w.block : w.index * 32 + static_cast<uint32_t>(lane);
  for (uint8_t axis = 0; axis < r.axis; ++axis) index /= extent[axis];
  return r.axis == 2 ? index : index % extent.at(r.axis);
}

void run_block(Launch& launch, std::vector<Warp>& warps, uint32_t number) {
  launch.first_interval = static_cast<uint32_t>(launch.intervals.size());
  std::fill(launch.shared.begin(), launch.shared.end(), uint8_t{0xff});
  for (Warp& w : warps) {
    const auto lanes = std::min<uint64_t>(32, count_of(launch.block) - w.index * 32);
    const auto alive = static_cast<uint32_t>((uint64_t{1} << lanes) - 1);
    w = Warp{w.registers, &launch, w.index, number, alive};
    add_group(w, 0, w.alive);
    begin_interval(w);
    for (const SpecialRegister& r : launch.function.specials)
      store_lanes<uint32_t>(w, r.place, ~0u, [&](int l) { return value_of(r, w, l); });
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

void set_constants(Warp& w, const Function& f) {
  for (const Constant& c : f.constants) {
    const uint64_t value = c.is_dynamic_shared ? f.dynamic_shared_begin() : c.value;
    if (c.bits == 64)
      std::fill_n(slots<uint64_t>(w, c.place), 32, value);
    else
      std::fill_n(slots<uint32_t>(w, c.place), c.bits == 1 ? 1 : 32, static_cast<uint32_t>(value));
  }
}

}  // namespace

void run_launch(const Function& f, uint32_t operation, Extent grid, Extent block, uint32_t dynamic_shared,
                const std::vector<uint8_t>& parameters) {
  const uint64_t warp_count = (count_of(block) + 31) / 32;
  Launch launch{f, operation, grid, block};
  launch.parameters = parameters.data();
  launch.shared_bytes = (f.uses_dynamic_shared ? f.dynamic_shared_begin() : f.shared_bytes) + dynamic_shared;
  launch.shared_shadow = Shadow(launch.shared_bytes + 16);
  launch.shared.resize(launch.shared_bytes + 16);
  launch.local.resize(warp_count * 32 * f.local_bytes);
  launch.copying.resize(launch.shared_bytes / 4 + 4);
  for (const Instruction& i : f.code) i.window = Window{};

  struct alignas(64) Line {  // as wide as the loops over lanes want to load
    uint8_t bytes[64];
  };
  const size_t lines = f.register_bytes / sizeof(Line) + 1;
  std::vector<Line> registers(lines * warp_count);
  std::vector<Warp> warps(warp_count);
  for (size_t k = 0; k < warp_count; ++k) {
    warps[k].index = static_cast<uint32_t>(k);
    warps[k].registers = registers[lines * k].bytes;
    set_constants(warps[k], f);
  }
  std::vector<uint32_t> order(count_of(grid));
  std::iota(order.begin(), order.end(), 0u);
  std::shuffle(order.begin(), order.end(), launch.random);
  for (uint32_t number : order) run_block(launch, warps, number);

  ++launch.counters.launches;
  ++the<Runs>()[f.name];
  add(Journal::get().kernels[f.readable_name], launch.counters);
}

}  // namespace switchyard::simgpu
