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

// For each warp of a block the last of its epochs that is over, seen from somewhere. A warp's epoch ends at barriers
// and fences; what it did in an epoch that is seen happened before.
using Epochs = std::array<uint32_t, 32>;
using Seen = std::map<uint32_t, Epochs>;  // by block

struct Knowledge {  // of a warp, or of those that have come to a barrier
  Epochs seen{};    // of the own block
  Seen acquired{};  // of other blocks
  Seen fenced{};    // what the last fence lets a following atomic publish
  Seen observed{};  // what atomics have read of others
};

struct Group {  // lanes that run together
  uint32_t at, lanes;
};
struct PendingCopy {  // of cp.async
  const Instruction* instruction;
  uint32_t shared, bytes, lane, group;
  uint32_t source_bytes = 0;  // that are copied; the rest is zeros
  const uint8_t* from = nullptr;
};

struct Launch;
struct Warp {
  uint8_t* registers = nullptr;
  Launch* launch = nullptr;
  uint32_t index = 0, block = 0;
  uint32_t alive = 0;           // lanes that have not exited
  std::vector<Group> groups{};  // the one that is furthest behind last: it runs, so that groups meet again
  int barrier = -1;             // the one it waits at
  // Order of accesses (access.h).
  Access access = 0;  // operation and interval: one warp between two points of synchronisation
  uint32_t epoch = 1, syncs = 0;
  Knowledge known{};
  std::vector<PendingCopy> pending{};
  std::array<uint32_t, 32> copy_group{};
};

struct Interval {  // who an access was by
  uint32_t block, epoch, syncs, warp;
};
struct Barrier {
  Knowledge known{};
  uint32_t expected = 0;  // threads; 0: all of the block that have not exited
  uint32_t arrived = 0;   // warps
  std::vector<Warp*> waiting{};
  bool reduces = false, any = false;  // any: a lane for which the predicate holds
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
  std::vector<uint8_t> shared{}, local{};
  Shadow shared_shadow{0};
  std::vector<Interval> intervals{};
  std::unordered_map<uint64_t, Seen> published{};  // by the address of an atomic
  std::vector<bool> copying{};                     // for each 4 bytes of shared memory, a cp.async is under way
  int copies_pending = 0;
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
