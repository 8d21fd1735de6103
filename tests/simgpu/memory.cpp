// The arena: one sparse file mapped twice. The kernel chooses where, so that sanitizers find their own places free.
#include "tests/simgpu/memory.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/simgpu/findings.h"

namespace switchyard::simgpu {
namespace {

constexpr uint64_t kHostPage = 4096;
constexpr uint64_t round_up(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

struct sigaction previous_handler;

[[noreturn]] void no_memory(const char* what) {
  std::perror(what);
  std::_Exit(70);
}

uint8_t* map(size_t bytes, int protection, int flags, int file, void* at = nullptr) {
  void* p = mmap(at, bytes, protection, flags | MAP_NORESERVE, file, 0);
  if (p == MAP_FAILED) no_memory("simgpu: mapping the arena");
  return static_cast<uint8_t*>(p);
}

}  // namespace

Memory& Memory::get() {
  static auto* memory = new Memory;
  return *memory;
}

Memory::Memory() {
  file_ = memfd_create("simgpu", MFD_CLOEXEC);
  if (file_ < 0 || ftruncate(file_, static_cast<off_t>(kArena)) != 0) no_memory("simgpu: the arena");
  uint8_t* base = map(kArena + 4 * kWindow, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  map(kArena, PROT_NONE, MAP_SHARED | MAP_FIXED, file_, base);
  base_ = reinterpret_cast<uint64_t>(base);
  alias_ = map(kArena, PROT_READ | PROT_WRITE, MAP_SHARED, file_);
  struct sigaction action {};
  action.sa_sigaction = [](int s, siginfo_t* info, void* context) { explain_fault(s, info, context); };
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(SIGSEGV, &action, &previous_handler);
}

// The host touched the arena: say what lies there, then die as it would without this handler.
void Memory::explain_fault(int signal, void* info, void* context) {
  auto* details = static_cast<siginfo_t*>(info);
  const auto address = reinterpret_cast<uint64_t>(details->si_addr);
  Memory& memory = get();
  if (memory.in_arena(address)) {
    std::string why = "host code touches device memory";
    for (const Guard& g : memory.guards_) {
      if (address < g.begin || address >= g.end) continue;
      why = "host code touches pinned memory of '" + Order::get()[g.operation].name + "' before it has synchronised";
    }
    std::fprintf(stderr, "simgpu: %s: %s\n", why.c_str(), memory.describe(address).c_str());
    std::fflush(stderr);
  } else if (previous_handler.sa_flags & SA_SIGINFO) {
    return previous_handler.sa_sigaction(signal, details, context);
  }
  sigaction(signal, &previous_handler, nullptr);
}

size_t Memory::limit() { return static_cast<size_t>(setting("MEMORY", int64_t{8} << 30)); }

Allocation* Memory::allocate(size_t bytes, Allocation::Kind kind) {
  const bool pinned = kind == Allocation::Kind::pinned;
  if (!pinned && (bytes > limit() || used_ > limit() - bytes)) return nullptr;
  // No more than the 256 bytes of alignment that the driver promises; pinned memory begins a page.
  const size_t at = pinned ? round_up(top_, kHostPage) : round_up(top_, 512) + 256;
  const size_t end = pinned ? round_up(at + bytes, kHostPage) + kHostPage : at + bytes + 256;
  if (bytes > kArena || end > kArena) return nullptr;
  top_ = end;
  auto a = std::make_unique<Allocation>();
  a->begin = base_ + at;
  a->bytes = bytes;
  a->data = alias_ + at;
  a->kind = kind;
  a->number = static_cast<uint32_t>(allocations_.size() + 1);
  a->shadow = std::make_unique<Shadow>(bytes);
  if (pinned) {
    mprotect(reinterpret_cast<void*>(a->begin), round_up(bytes, kHostPage), PROT_READ | PROT_WRITE);
  } else {
    used_ += bytes;
    std::memset(a->data, kind == Allocation::Kind::module ? 0 : 0xff, bytes);  // NaN in every float type
  }
  return (allocations_[a->begin] = std::move(a)).get();
}

void Memory::free(Allocation& a) {
  a.shadow.reset();
  const size_t at = a.begin - base_;
  const size_t first = round_up(at, kHostPage), last = (at + a.bytes) / kHostPage * kHostPage;
  if (a.kind == Allocation::Kind::pinned) {
    mprotect(reinterpret_cast<void*>(a.begin), round_up(a.bytes, kHostPage), PROT_NONE);
    std::erase_if(guards_, [&](const Guard& g) { return a.contains(g.begin, 1); });
  } else {
    used_ -= a.bytes;
  }
  if (first < last) {
    fallocate(file_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(first),
              static_cast<off_t>(last - first));
  }
}

Allocation* Memory::find(uint64_t address) {
  auto after = allocations_.upper_bound(address);
  if (after == allocations_.begin()) return nullptr;
  Allocation& a = *std::prev(after)->second;
  return a.shadow && a.contains(address, 1) ? &a : nullptr;
}

std::string Memory::describe(uint64_t address) const {
  char text[160];
  auto after = allocations_.upper_bound(address);
  if (!in_arena(address) || after == allocations_.begin()) {
    std::snprintf(text, sizeof text, "address 0x%llx, in no allocation", static_cast<unsigned long long>(address));
    return text;
  }
  const Allocation& a = *std::prev(after)->second;
  std::snprintf(text, sizeof text, "byte %llu of %s#%u (%zu bytes)", static_cast<unsigned long long>(address - a.begin),
                a.shadow ? "allocation " : "freed allocation ", a.number, a.bytes);
  return text;
}

void Memory::guard(const void* begin, size_t bytes, int protection, uint32_t operation) {
  const auto from = reinterpret_cast<uint64_t>(begin);
  const Allocation* a = find(from);
  const uint64_t end = from + bytes == a->begin + a->bytes ? round_up(from + bytes, kHostPage) : from + bytes;
  const Guard g{round_up(from, kHostPage), end / kHostPage * kHostPage, protection, operation};
  if (g.begin >= g.end) return;
  guards_.push_back(g);
  protect(g);
}

// Each page of the range gets the least that the guards in force allow.
void Memory::protect(const Guard& range) {
  for (uint64_t page = range.begin; page < range.end; page += kHostPage) {
    int allowed = PROT_READ | PROT_WRITE;
    for (const Guard& g : guards_) {
      if (page >= g.begin && page < g.end) allowed &= g.protection;
    }
    mprotect(reinterpret_cast<void*>(page), kHostPage, allowed);
  }
}

void Memory::release_guards() {
  const Order& order = Order::get();
  std::vector<Guard> over;
  std::erase_if(guards_, [&](const Guard& g) {
    const OperationRecord& o = order[g.operation];
    const bool done = reached(order.host, o.stream) >= o.sequence;
    if (done) over.push_back(g);
    return done;
  });
  for (const Guard& g : over) protect(g);
}

void keep_other_operation(Cell& cell, const Order& order) {
  if (!cell.other_operation || order.before(operation_of(cell.other_operation), operation_of(cell.read))) {
    cell.other_operation = cell.read;
  }
  cell.other_warp = 0;
}

bool touch(uint32_t operation, Allocation& allocation, size_t offset, size_t bytes, bool writes) {
  const Order& order = Order::get();
  const Access me = make_access(operation, 0, 0, false);
  bool all_written = true;
  uint32_t known = operation;  // the last operation found to be before this one
  auto check = [&](Access earlier, size_t at, const char* kind) {
    const uint32_t other = operation_of(earlier);
    if (!earlier || other == known || order.before(other, operation)) {
      if (earlier) known = other;
      return;
    }
    const OperationRecord &o = order[other], &mine = order[operation];
    report("unordered stream operations", o.name + '>' + mine.name,
           "'" + mine.name + "' (stream " + std::to_string(mine.stream) + ") " + (writes ? "writes " : "reads ") +
               Memory::get().describe(allocation.begin + at) + " with no ordering after '" + o.name + "' (stream " +
               std::to_string(o.stream) + "): " + kind);
  };
  allocation.shadow->for_each(offset, bytes, [&](Cell& cell, size_t at) {
    check(cell.write, at, writes ? "write after write" : "read after write");
    if (writes) {
      for (Access read : {cell.read, cell.other_warp, cell.other_operation}) check(read, at, "write after read");
      cell = Cell{me, 0, 0, 0};
    } else {
      all_written &= cell.write != 0;
      if (operation_of(cell.read) != operation) keep_other_operation(cell, order);
      cell.read = me;
    }
  });
  return all_written;
}

}  // namespace switchyard::simgpu
