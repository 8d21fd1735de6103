// Blocks, warps, divergence and barriers. Lanes of a warp that are at different places form groups; the one furthest
// behind runs, so that groups meet again where their ways do. A warp runs until it exits or waits at a barrier.
#include "tests/simgpu/launch.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "tests/simgpu/access.h"

namespace switchyard::simgpu {
namespace {

constexpr uint64_t kMostInstructions = 400'000'000;  // of one warp between two barriers

void add_group(Warp& w, uint32_t at, uint32_t lanes) {
  size_t k = w.groups.size();
  while (k > 0 && w.groups[k - 1].at < at) --k;
  if (k > 0 && w.groups[k - 1].at == at) {
    w.groups[k - 1].lanes |= lanes;
  } else {
    w.groups.insert(w.groups.begin() + static_cast<ptrdiff_t>(k), {at, lanes});
  }
}

class Block {
 public:
  Block(Launch& launch, std::vector<Warp>& warps) : launch_(launch), warps_(warps) {}

  void run() {
    std::vector<Warp*> order;
    for (Warp& w : warps_) order.push_back(&w);
    for (;;) {
      launch_.random.shuffle(order);
      bool moved = false, left = false;
      for (Warp* w : order) {
        if (w->groups.empty() || w->barrier >= 0) continue;
        run_warp(*w);
        moved = true;
        complete_barriers();
      }
      for (const Warp& w : warps_) left |= !w.groups.empty();
      if (!left) return;
      if (!moved) report_stuck();
    }
  }

 private:
  void run_warp(Warp& w) {
    const Instruction* code = launch_.function.code.data();
    uint64_t warp_instructions = 0, instructions = 0;
    while (!w.groups.empty() && w.barrier < 0) {
      Group& g = w.groups.back();
      const uint32_t next = w.groups.size() > 1 ? w.groups[w.groups.size() - 2].at : ~0u;
      uint32_t at = g.at;
      const uint32_t lanes = g.lanes;
      const Instruction* i = nullptr;
      uint32_t active = 0;
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
      g.at = at;
      if (at >= next) {
        w.groups.pop_back();
        add_group(w, at, lanes);
      } else {
        turn(w, *i, at, lanes, active);
      }
      if (warp_instructions > kMostInstructions) {
        fault(w, *i, 0, "a warp that does not come to an end (does it wait for another?)", cudaErrorLaunchTimeout);
      }
    }
    launch_.counters.warp_instructions += warp_instructions;
    launch_.counters.instructions += instructions;
  }

  void turn(Warp& w, const Instruction& i, uint32_t at, uint32_t lanes, uint32_t active) {
    if (i.flow == Flow::barrier && active) return come_to_barrier(w, i, active);
    w.groups.pop_back();
    if (lanes & ~active) add_group(w, at + 1, lanes & ~active);
    if (i.flow == Flow::branch && active) add_group(w, static_cast<uint32_t>(i.target), active);
    if (i.flow == Flow::exit) {
      w.alive &= ~active;
      if (!w.alive) arrive(exited_, w);
    }
  }

  void come_to_barrier(Warp& w, const Instruction& i, uint32_t active) {
    const auto lane = static_cast<uint32_t>(std::countr_zero(active));
    if (active != w.alive) {
      fault(
          w, i, lane,
          "a barrier that lane " + std::to_string(std::countr_zero(w.alive & ~active)) + " of the warp has not come to",
          cudaErrorLaunchFailure);
    }
    const uint32_t number = slots<uint32_t>(w, i.source[0])[lane];
    const uint32_t threads = i.source[1] ? slots<uint32_t>(w, i.source[1])[lane] : 0;
    if (number >= barriers_.size())
      fault(w, i, lane, "barrier number " + std::to_string(number), cudaErrorLaunchFailure);
    if (threads % 32)
      fault(w, i, lane, "a barrier of " + std::to_string(threads) + " threads, no multiple of 32",
            cudaErrorLaunchFailure);
    Barrier& b = barriers_[number];
    if (b.arrived && (b.expected != threads || (i.kind >= static_cast<uint8_t>(BarrierKind::count)) != b.reduces)) {
      fault(w, i, lane, "a barrier that others came to in another way", cudaErrorLaunchFailure);
    }
    b.expected = threads;
    b.reduces = i.kind >= static_cast<uint8_t>(BarrierKind::count);
    ++b.arrived;
    arrive(b, w);
    if (b.reduces) {
      const uint32_t p = (i.negated_operand ? ~bits(w, i.source[2]) : bits(w, i.source[2])) & w.alive;
      b.count += static_cast<uint32_t>(std::popcount(p));
      b.lanes += static_cast<uint32_t>(std::popcount(w.alive));
    }
    if (i.kind == static_cast<uint8_t>(BarrierKind::arrive)) {
      begin_interval(w);
      ++w.groups.back().at;
    } else {
      w.barrier = static_cast<int>(number);
      b.waiting.push_back(&w);
    }
  }

  void complete_barriers() {
    uint32_t running = 0;
    for (const Warp& w : warps_) running += !w.groups.empty();
    for (Barrier& b : barriers_) {
      const uint32_t expected = b.expected ? b.expected / 32 : running;
      if (!b.arrived || b.arrived < expected) continue;
      if (!b.expected) {  // of all: also what the exited ones did is over
        join(b.seen, exited_.seen);
        join(b.fenced, exited_.fenced);
      }
      for (Warp* w : b.waiting) release(b, *w);
      b = Barrier{};
    }
  }

  void release(const Barrier& b, Warp& w) {
    const Instruction& i = launch_.function.code[w.groups.back().at];
    if (i.kind == static_cast<uint8_t>(BarrierKind::count)) {
      store_lanes<uint32_t>(slots<uint32_t>(w, i.d), w.alive, [&](int) { return b.count; });
    } else if (b.reduces) {
      const bool result = i.kind == static_cast<uint8_t>(BarrierKind::all) ? b.count == b.lanes : b.count > 0;
      set_bits(w, i.d, w.alive, result ? ~0u : 0);
    }
    leave(b, w);
    begin_interval(w);
    ++w.groups.back().at;
    w.barrier = -1;
  }

  [[noreturn]] void report_stuck() {
    for (const Warp& w : warps_) {
      if (w.barrier < 0) continue;
      const Instruction& i = launch_.function.code[w.groups.back().at];
      fault(
          w, i, 0,
          "a barrier that only " + std::to_string(barriers_[static_cast<size_t>(w.barrier)].arrived) + " warps come to",
          cudaErrorLaunchTimeout);
    }
    throw Fault(cudaErrorUnknown, "simgpu: a block without a warp that can run");
  }

  Launch& launch_;
  std::vector<Warp>& warps_;
  std::array<Barrier, 16> barriers_;
  Barrier exited_;
};

// The values of special registers that a kernel uses.
void fill_specials(const Launch& launch, Warp& w) {
  const Extent &b = launch.block, &g = launch.grid;
  const uint32_t n = launch.current_block;
  const uint32_t warps = static_cast<uint32_t>((b.count() + 31) / 32);
  for (const SpecialRegister& s : launch.function.specials) {
    store_lanes<uint32_t>(slots<uint32_t>(w, s.place), ~0u, [&, name = std::string_view(s.name)](int lane) -> uint32_t {
      const auto l = static_cast<uint32_t>(lane);
      const uint32_t t = w.index * 32 + l;
      if (name == "tid.x") return t % b.x;
      if (name == "tid.y") return t / b.x % b.y;
      if (name == "tid.z") return t / b.x / b.y;
      if (name == "ntid.x") return b.x;
      if (name == "ntid.y") return b.y;
      if (name == "ntid.z") return b.z;
      if (name == "ctaid.x") return n % g.x;
      if (name == "ctaid.y") return n / g.x % g.y;
      if (name == "ctaid.z") return n / g.x / g.y;
      if (name == "nctaid.x") return g.x;
      if (name == "nctaid.y") return g.y;
      if (name == "nctaid.z") return g.z;
      if (name == "laneid") return l;
      if (name == "warpid") return w.index;
      if (name == "nwarpid") return warps;
      if (name == "lanemask_eq") return 1u << l;
      if (name == "lanemask_lt") return (1u << l) - 1;
      if (name == "lanemask_le") return (2u << l) - 1;
      if (name == "lanemask_gt") return ~((2u << l) - 1);
      if (name == "lanemask_ge") return ~((1u << l) - 1);
      if (name == "dynamic_smem_size") return launch.dynamic_shared;
      return launch.shared_bytes;  // total_smem_size
    });
  }
}

uint8_t* align64(uint8_t* p) {
  return reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(p) + 63) & ~uintptr_t{63});
}

void run_block(Launch& launch, std::vector<Warp>& warps, uint32_t number) {
  launch.current_block = number;
  launch.first_interval = static_cast<uint32_t>(launch.intervals.size());
  std::memset(launch.shared.data(), 0xff, launch.shared.size());
  const auto threads = static_cast<uint32_t>(launch.block.count());
  for (Warp& w : warps) {
    Warp fresh;
    fresh.registers = w.registers;
    fresh.constants_end = w.constants_end;
    fresh.launch = &launch;
    fresh.index = w.index;
    fresh.block = number;
    const uint32_t lanes = std::min(32u, threads - w.index * 32);
    fresh.alive = lanes == 32 ? ~0u : (1u << lanes) - 1;
    w = std::move(fresh);
    add_group(w, 0, w.alive);
    begin_interval(w);
    fill_specials(launch, w);
  }
  Block(launch, warps).run();
  for (const Warp& w : warps) {
    if (w.pending.empty()) continue;
    report("cp.async not waited for", launch.function.name,
           where(w, *w.pending[0].instruction, w.pending[0].lane) + " at the end");
    launch.copies_pending = 0;
    std::fill(launch.copying.begin(), launch.copying.end(), false);
  }
}

}  // namespace

void run_launch(const Function& f, uint32_t operation, Extent grid, Extent block, uint32_t dynamic_shared,
                const std::vector<uint8_t>& parameters) {
  const auto count = static_cast<uint32_t>((block.count() + 31) / 32);
  const uint32_t shared = (f.uses_dynamic_shared ? f.dynamic_shared_begin() : f.shared_bytes) + dynamic_shared;
  Launch launch{f,
                operation,
                grid,
                block,
                dynamic_shared,
                parameters.data(),
                Random(seed() * 0x100000001b3u + operation),
                {},
                true,
                0,
                shared,
                0,
                {},
                {},
                Shadow(shared + 16),
                {},
                {},
                {},
                0,
                0};
  launch.checks = setting("CHECKS", 1) != 0;
  launch.shared.resize(shared + 16);
  launch.copying.resize(shared / 4 + 4);
  launch.local.resize(size_t{count} * 32 * f.local_bytes);
  for (const Instruction& i : f.code) i.window = Window{};

  const size_t bytes = (f.register_bytes + 63) / 64 * 64, constants = (f.constants.size() + 63) / 64 * 64;
  std::vector<uint8_t> registers(bytes * count + constants + 64);
  uint8_t* first = align64(registers.data());
  uint8_t* constants_end = first + bytes * count + constants;
  std::copy(f.constants.begin(), f.constants.end(), constants_end - f.constants.size());
  std::vector<Warp> warps(count);
  for (uint32_t k = 0; k < count; ++k) {
    warps[k].index = k;
    warps[k].registers = first + bytes * k;
    warps[k].constants_end = constants_end;
  }
  std::vector<uint32_t> order(grid.count());
  std::iota(order.begin(), order.end(), 0u);
  launch.random.shuffle(order);
  for (uint32_t number : order) run_block(launch, warps, number);
  launch.counters.launches = 1;
  Journal::get().kernels[f.readable_name] += launch.counters;
}

}  // namespace switchyard::simgpu
