// A warp while it runs, and the block and launch that it belongs to: what handlers of instructions see.
#pragma once

#include <map>
#include <unordered_map>
#include <vector>

#include "tests/simgpu/ptx.h"

namespace switchyard::simgpu {

// For each warp of a block the last of its epochs that is over, seen from somewhere. A warp's epoch ends at barriers
// and fences; what it did in an epoch that is seen happened before.
using Epochs = std::array<uint32_t, 32>;
using Seen = std::map<uint32_t, Epochs>;  // by block

struct Group {  // lanes that run together
  uint32_t at, lanes;
};

struct PendingCopy {  // of cp.async
  uint32_t shared;
  const uint8_t* from;
  uint32_t bytes, source_bytes, lane, group;
  const Instruction* instruction;
};

struct Launch;
struct Warp {
  uint8_t* registers = nullptr;
  uint8_t* constants_end = nullptr;
  Launch* launch = nullptr;
  uint32_t index = 0, block = 0;
  uint32_t alive = 0;         // lanes that have not exited
  std::vector<Group> groups;  // the one that is furthest behind last: it runs, so that groups meet again
  int barrier = -1;           // the one it waits at

  // Order of accesses (access.h).
  uint32_t interval = 0;  // its number in the launch: one warp between two points of synchronisation
  uint32_t epoch = 1, syncs = 0;
  Epochs seen{};  // of its own block
  Seen acquired;  // of other blocks
  Seen fenced;    // what its last fence lets a following atomic publish
  Seen observed;  // what its atomics have read of others, for a following fence to acquire

  std::vector<PendingCopy> pending;
  std::array<uint32_t, 32> copy_group{};
};

struct Interval {  // who an access was by
  uint32_t block, epoch, syncs, warp;
};

struct Barrier {
  Epochs seen{};  // of the warps that have come
  Seen acquired, fenced;
  uint32_t expected = 0;  // threads; 0: all of the block that have not exited
  uint32_t arrived = 0;   // warps
  std::vector<Warp*> waiting;
  bool reduces = false;
  uint32_t count = 0, lanes = 0;  // for which the predicate holds, and all
};

struct Extent {
  uint32_t x = 1, y = 1, z = 1;
  uint64_t count() const { return uint64_t{x} * y * z; }
};

struct Launch {
  const Function& function;
  uint32_t operation;
  Extent grid, block;
  uint32_t dynamic_shared, shared_bytes;
  const uint8_t* parameters;
  bool checks;
  Random random;
  KernelCounters counters{};
  uint32_t current_block = 0, first_interval = 0;  // of that block
  std::vector<uint8_t> shared{}, local{};
  Shadow shared_shadow{shared_bytes + 16};
  std::vector<Interval> intervals{};
  std::unordered_map<uint64_t, Seen> published{};  // by the address of an atomic
  std::vector<bool> copying{};                     // for each 4 bytes of shared memory, a cp.async is under way
  int copies_pending = 0;
  uint32_t known_before = 0;  // an operation found to be before this one
};

[[noreturn]] void fault(const Warp& w, const Instruction& i, uint32_t lane, const std::string& what,
                        cudaError_t status = cudaErrorIllegalAddress);
std::string where(const Warp& w, const Instruction& i, uint32_t lane);

}  // namespace switchyard::simgpu
