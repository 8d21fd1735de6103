// A warp while it runs, the launch that it belongs to, and loops over its 32 lanes, which the compiler vectorises: all
// are computed, and only active ones are stored.
#pragma once

#include <cmath>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#include "tests/simgpu/ptx.h"

namespace switchyard::simgpu {

struct Group {  // lanes that run together
  uint32_t at, lanes;
};

struct Launch;
struct Warp {
  uint8_t* registers = nullptr;
  Launch* launch = nullptr;
  uint32_t index = 0, block = 0;
  uint32_t alive = 0;           // lanes that have not exited
  std::vector<Group> groups{};  // the one that is furthest behind last: it runs, so that groups meet again
  bool waits = false;           // at the barrier
  // Order of accesses (access.h).
  Access access = 0;                 // operation and interval: one warp between two points of synchronisation
  uint32_t barriers = 0, syncs = 0;  // passed: of the block, of the warp
};

struct Interval {  // who an access was by
  uint32_t block, warp, barriers, syncs;
};
struct Launch {
  const Function& function;
  const uint32_t operation;
  const Extent grid, block;
  Random random{seed() << 32 | operation};
  uint32_t shared_bytes = 0;
  const uint8_t* parameters = nullptr;
  KernelCounters counters{};
  uint32_t first_interval = 0;  // of the current block
  std::vector<uint8_t> shared{};
  Shadow shared_shadow{0};
  std::vector<Interval> intervals{};
  std::array<uint32_t, 64> known_before{};  // operations found to be before this one, by their number's last bits
};

[[noreturn]] void fault(const Warp& w, const Instruction& i, uint32_t lane, const std::string& what,
                        cudaError_t status = cudaErrorIllegalAddress);
std::string where(const Warp& w, const Instruction& i, uint32_t lane);
// Runs the whole grid, block after block in an order that the seed draws. `parameters` are laid out as the kernel's.
void run_launch(const Function& f, uint32_t operation, Extent grid, Extent block, uint32_t dynamic_shared,
                const std::vector<uint8_t>& parameters);

// ---- values

struct Pred {};  // bool; a bit for each lane
template <class T>
using Slot = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
template <class T>
T get(Slot<T> slot) {
  if constexpr (sizeof(T) >= 4) return std::bit_cast<T>(slot);
  if constexpr (sizeof(T) < 4) return static_cast<T>(slot);
}
template <class T>
Slot<T> put(T value) {
  if constexpr (sizeof(T) < 4) return static_cast<uint32_t>(int32_t{value});  // extended by its sign
  if constexpr (sizeof(T) >= 4) return std::bit_cast<Slot<T>>(value);
}

template <class T>
Slot<T>* slots(Warp& w, Operand o) {
  return reinterpret_cast<Slot<T>*>(w.registers + o.at);
}
inline uint32_t& bits(Warp& w, Operand o) { return *slots<uint32_t>(w, o); }  // of a predicate
inline void set_bits(Warp& w, Operand o, uint32_t active, uint32_t value) {
  bits(w, o) = (bits(w, o) & ~active) | (value & active);
}

template <class T>
struct Values {
  const Slot<T>* slot;
  Values(Warp& w, Operand o) : slot(slots<T>(w, o)) {}
  T operator[](int l) const { return get<T>(slot[l]); }
};
template <>
struct Values<Pred> {
  uint32_t all;
  Values(Warp& w, Operand o) : all(bits(w, o)) {}
  bool operator[](int l) const { return all >> l & 1; }
};

template <class T, class F>
void store_lanes(Warp& w, Operand to, uint32_t active, F value_of) {
  if constexpr (std::is_same_v<T, Pred>) {
    uint32_t all = 0;
    for (int l = 0; l < 32; ++l) all |= static_cast<uint32_t>(value_of(l)) << l;
    set_bits(w, to, active, all);
  } else {
    Slot<T>* d = slots<T>(w, to);
    if (active == ~0u) {
      for (int l = 0; l < 32; ++l) d[l] = put<T>(value_of(l));
      return;
    }
    for (int l = 0; l < 32; ++l) {
      const Slot<T> r = put<T>(value_of(l));
      d[l] = (active >> l & 1) ? r : d[l];
    }
  }
}

template <class F>
void for_lanes(uint32_t active, F f) {
  for (; active; active &= active - 1) f(static_cast<uint32_t>(std::countr_zero(active)));
}

// d = F(sources...), each of its type.
template <class F, class D, class... S>
void apply(Warp& w, const Instruction& i, uint32_t active) {
  using Result = std::conditional_t<std::is_same_v<D, Pred>, bool, D>;
  [&]<size_t... n>(std::index_sequence<n...>) {
    const std::tuple<Values<S>...> from{Values<S>(w, i.source[n])...};
    store_lanes<D>(w, i.d, active, [&](int l) -> Result { return F()(std::get<n>(from)[l]...); });
  }
  (std::index_sequence_for<S...>());
}

}  // namespace switchyard::simgpu
