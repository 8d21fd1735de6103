// The arena: one sparse file mapped twice. The kernel chooses where, so that sanitizers find their own places free.
#include "tests/simgpu/memory.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>

namespace switchyard::simgpu {
namespace {

constexpr uint64_t kHostPage = 4096;
constexpr uint64_t round_up(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }
struct sigaction previous_handler;

uint8_t* map(size_t bytes, int protection, int flags, int file, void* at = nullptr) {
  void* p = mmap(at, bytes, protection, flags | MAP_NORESERVE, file, 0);
  if (p != MAP_FAILED) return static_cast<uint8_t*>(p);
  std::perror("simgpu: mapping the arena");
  std::_Exit(70);
}

void protect_pages(uint64_t begin, size_t bytes, int protection) {
  if (mprotect(reinterpret_cast<void*>(begin), round_up(bytes, kHostPage), protection) != 0)
    std::perror("simgpu: mprotect");
}

}  // namespace

Memory::Memory() {
  file_ = memfd_create("simgpu", MFD_CLOEXEC);
  if (file_ < 0 || ftruncate(file_, static_cast<off_t>(kArena)) != 0) std::perror("simgpu: the arena");
  uint8_t* base = map(kArena + kWindow, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  map(kArena, PROT_NONE, MAP_SHARED | MAP_FIXED, file_, base);
  base_ = reinterpret_cast<uint64_t>(base);
  alias_ = map(kArena, PROT_READ | PROT_WRITE, MAP_SHARED, file_);
  struct sigaction action {};
  action.sa_sigaction = explain_fault;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(SIGSEGV, &action, &previous_handler);
}

// The host touched the arena: say what lies there, then die as it would without this handler.
void Memory::explain_fault(int signal, siginfo_t* info, void*) {
  const auto address = reinterpret_cast<uint64_t>(info->si_addr);
  Memory& memory = get();
  if (memory.in_arena(address)) {
    std::string why = "host code touches device memory";
    for (const Guard& g : memory.guards_) {
      if (address < g.begin || address >= g.end) continue;
      why = fmt::format("host code touches pinned memory of '{}' before it has synchronised",
                        Order::get()[g.operation].name);
    }
    fmt::print(stderr, "simgpu: {}: {}\n", why, memory.describe(address));
  }
  sigaction(signal, &previous_handler, nullptr);
}

Allocation* Memory::allocate(size_t bytes, Allocation::Kind kind) {
  const bool pinned = kind == Allocation::Kind::pinned;
  if (!pinned && (bytes > limit() || used_ > limit() - bytes)) return nullptr;
  // No more than the 256 bytes of alignment that the driver promises; pinned memory begins a page.
  const size_t at = pinned ? round_up(top_, kHostPage) : round_up(top_, 512) + 256;
  if (bytes > kArena / 2 || at + bytes + 2 * kHostPage > kArena) return nullptr;
  top_ = pinned ? round_up(at + bytes, kHostPage) + kHostPage : at + bytes + 256;
  auto a = std::make_unique<Allocation>();
  const auto number = static_cast<uint32_t>(allocations_.size() + 1);
  *a = {base_ + at, bytes, alias_ + at, kind, number, std::make_unique<Shadow>(bytes)};
  if (pinned) protect_pages(a->begin, bytes, PROT_READ | PROT_WRITE);
  if (!pinned) used_ += bytes;
  return (allocations_[a->begin] = std::move(a)).get();
}

void Memory::free(Allocation& a) {
  a.shadow.reset();
  if (a.kind == Allocation::Kind::pinned) {
    protect_pages(a.begin, a.bytes, PROT_NONE);
    std::erase_if(guards_, [&](const Guard& g) { return a.contains(g.begin, 1); });
  } else {
    used_ -= a.bytes;
  }
  const size_t first = round_up(a.begin - base_, kHostPage), last = (a.begin - base_ + a.bytes) / kHostPage * kHostPage;
  if (first >= last) return;
  if (fallocate(file_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(first),
                static_cast<off_t>(last - first)) != 0)
    std::perror("simgpu: fallocate");
}

Allocation* Memory::find(uint64_t address) {
  auto after = allocations_.upper_bound(address);
  if (after == allocations_.begin()) return nullptr;
  Allocation& a = *std::prev(after)->second;
  return a.shadow && a.contains(address, 1) ? &a : nullptr;
}

std::string Memory::describe(uint64_t address) const {
  auto after = allocations_.upper_bound(address);
  if (!in_arena(address) || after == allocations_.begin())
    return fmt::format("address {:#x}, in no allocation", address);
  const Allocation& a = *std::prev(after)->second;
  return fmt::format("byte {} of {}allocation #{} ({} bytes)", address - a.begin, a.shadow ? "" : "freed ", a.number,
                     a.bytes);
}

void Memory::guard(const void* begin, size_t bytes, int protection, uint32_t operation) {
  const auto from = reinterpret_cast<uint64_t>(begin);
  const Allocation* a = find(from);
  const bool to_its_end = from + bytes == a->begin + a->bytes;  // what follows in the page is nobody's
  const Guard g{round_up(from, kHostPage), round_up(from + bytes - (to_its_end ? 0 : kHostPage - 1), kHostPage),
                protection, operation};
  if (g.begin >= g.end) return;
  guards_.push_back(g);
  protect(g);
}

void Memory::protect(const Guard& range) {  // each page gets the least that the guards in force allow
  for (uint64_t page = range.begin; page < range.end; page += kHostPage) {
    int allowed = PROT_READ | PROT_WRITE;
    for (const Guard& g : guards_)
      if (page >= g.begin && page < g.end) allowed &= g.protection;
    protect_pages(page, kHostPage, allowed);
  }
}

void Memory::release_guards() {
  const Order& order = Order::get();
  std::vector<Guard> over;
  std::erase_if(guards_, [&](const Guard& g) {
    const bool done = reached(order.host, order[g.operation].stream) >= order[g.operation].sequence;
    if (done) over.push_back(g);
    return done;
  });
  for (const Guard& g : over) protect(g);
}

void keep_other_operation(Cell& cell) {
  if (!cell.other_operation || Order::get().before(operation_of(cell.other_operation), operation_of(cell.read)))
    cell.other_operation = cell.read;
  cell.other_warp = 0;
}

void report_unordered(const std::string& key, const std::string& who, uint32_t operation, uint32_t other, bool writes,
                      const std::string& where, const char* kind) {
  const OperationRecord &o = Order::get()[other], &mine = Order::get()[operation];
  report("unordered stream operations", key + '>' + o.name,
         fmt::format("{} (stream {}) {} {} with no ordering after '{}' (stream {}): {}", who, mine.stream,
                     writes ? "writes" : "reads", where, o.name, o.stream, kind));
}

bool touch(uint32_t operation, Allocation& allocation, size_t offset, size_t bytes, bool writes) {
  const Order& order = Order::get();
  const Access me = make_access(operation, 0, 0, false);
  bool all_written = true;
  uint32_t known = operation;  // the last operation found to be before this one
  auto check = [&](Access earlier, size_t at, const char* kind) {
    const uint32_t other = operation_of(earlier);
    if (!earlier || other == known) return;
    if (order.before(other, operation))
      known = other;
    else
      report_unordered(order[operation].name, '\'' + order[operation].name + '\'', operation, other, writes,
                       Memory::get().describe(allocation.begin + at), kind);
  };
  allocation.shadow->for_each(offset, bytes, [&](Cell& cell, size_t at) {
    check(cell.write, at, writes ? "write after write" : "read after write");
    if (writes) {
      for (Access read : {cell.read, cell.other_warp, cell.other_operation}) check(read, at, "write after read");
      cell = Cell{me, 0, 0, 0};
    } else {
      all_written &= cell.write != 0;
      if (cell.read && operation_of(cell.read) != operation) keep_other_operation(cell);
      cell.read = me;
    }
  });
  return all_written;
}

}  // namespace switchyard::simgpu
