// Best-fit allocator over segments from mmap. A free neighbour is merged at once, so a step whose sizes vary a little
// (tokens per expert) finds room in what earlier steps left.
#include "switchyard/device/allocator.h"

#include "switchyard/base/error.h"
#include "switchyard/base/round_up.h"

#include <sys/mman.h>

#include <algorithm>

namespace switchyard {
namespace {

constexpr int64_t kAlignment = 64;
constexpr int64_t kHugePage = 2 << 20;
constexpr int64_t kMinSegment = 32 << 20;

}  // namespace

std::string_view name_of(Purpose purpose) {
  constexpr std::array<std::string_view, kNumPurposes> names{"weights",   "packed",      "gradients",
                                                             "optimizer", "activations", "buffers"};
  return names[static_cast<size_t>(purpose)];
}

Allocator::Allocator() = default;

Allocator::~Allocator() {
  for (const auto& [start, bytes] : segments_) munmap(start, static_cast<size_t>(bytes));
}

const std::shared_ptr<Allocator>& Allocator::of(Device device) {
  check(device == Device::cpu, "memory on {}: this program has no CUDA", name_of(device));
  thread_local const std::shared_ptr<Allocator> allocator = std::make_shared<Allocator>();
  return allocator;
}

void Allocator::insert_free(char* start, int64_t bytes, char* segment) {
  blocks_[start] = {bytes, true, segment};
  free_.insert({bytes, start});
}

void Allocator::grow(int64_t bytes) {
  const int64_t size = round_up(std::max(bytes, kMinSegment), kHugePage);
  void* start = mmap(nullptr, static_cast<size_t>(size), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  check(start != MAP_FAILED, "out of memory: the system refused {} bytes ({} in use)", size, total_.live_bytes);
  madvise(start, static_cast<size_t>(size), MADV_HUGEPAGE);  // advice only: small pages work too
  segments_.emplace_back(static_cast<char*>(start), size);
  ++system_allocations_;
  system_bytes_ += size;
  insert_free(static_cast<char*>(start), size, static_cast<char*>(start));
}

void* Allocator::allocate(int64_t bytes, Purpose purpose) {
  check(bytes >= 0, "allocate: {} bytes", bytes);
  const int64_t size = round_up(std::max<int64_t>(bytes, 1), kAlignment);
  auto best = free_.lower_bound({size, nullptr});
  if (best == free_.end()) {
    grow(size);
    best = free_.lower_bound({size, nullptr});
  }
  const auto [block_bytes, start] = *best;
  free_.erase(best);
  Block& block = blocks_.at(start);
  block.is_free = false;
  if (block_bytes > size) {
    block.bytes = size;
    insert_free(start + size, block_bytes - size, block.segment);
  }
  auto count = [bytes](MemoryStats& stats) {
    stats.live_bytes += bytes;
    stats.peak_bytes = std::max(stats.peak_bytes, stats.live_bytes);
  };
  count(stats_[static_cast<size_t>(purpose)]);
  count(total_);
  return start;
}

void Allocator::release(void* pointer, int64_t bytes, Purpose purpose) {
  stats_[static_cast<size_t>(purpose)].live_bytes -= bytes;
  total_.live_bytes -= bytes;
  auto block = blocks_.find(static_cast<char*>(pointer));
  check(block != blocks_.end() && !block->second.is_free, "release: not a live block");
  const auto next = std::next(block);
  if (next != blocks_.end() && next->second.is_free && next->second.segment == block->second.segment) {
    block->second.bytes += next->second.bytes;
    free_.erase({next->second.bytes, next->first});
    blocks_.erase(next);
  }
  if (block != blocks_.begin()) {
    const auto previous = std::prev(block);
    if (previous->second.is_free && previous->second.segment == block->second.segment) {
      free_.erase({previous->second.bytes, previous->first});
      previous->second.bytes += block->second.bytes;
      blocks_.erase(block);
      block = previous;
    }
  }
  block->second.is_free = true;
  free_.insert({block->second.bytes, block->first});
}

void Allocator::reset_peaks() {
  for (MemoryStats& stats : stats_) stats.peak_bytes = stats.live_bytes;
  total_.peak_bytes = total_.live_bytes;
}

}  // namespace switchyard
