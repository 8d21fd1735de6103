// Best-fit allocator over segments from mmap. A free neighbour is merged at once, so a step whose sizes vary a little
// (tokens per expert) finds room in what earlier steps left.
#include "switchyard/device/allocator.h"

#include "switchyard/base/error.h"
#include "switchyard/base/round_up.h"
#include "switchyard/base/units.h"
#ifdef SWITCHYARD_HAVE_CUDA
#include "switchyard/device/cuda.h"
#endif

#include <sys/mman.h>

#include <algorithm>

namespace switchyard {
namespace {

class HostMemory final : public SystemMemory {
 public:
  void* take(int64_t bytes) override {
    void* start = mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED) return nullptr;
    madvise(start, static_cast<size_t>(bytes), MADV_HUGEPAGE);  // advice only: small pages work too
    return start;
  }
  void give_back(void* start, int64_t bytes) override { munmap(start, static_cast<size_t>(bytes)); }
};

}  // namespace

std::string_view name_of(Purpose purpose) {
  constexpr std::array<std::string_view, kNumPurposes> names{"weights",   "packed",      "gradients",
                                                             "optimizer", "activations", "buffers"};
  return names[static_cast<size_t>(purpose)];
}

Allocator::Allocator() : Allocator(std::make_unique<HostMemory>()) {}

Allocator::Allocator(std::unique_ptr<SystemMemory> system) : system_(std::move(system)) {}

Allocator::~Allocator() {
  for (const auto& [start, bytes] : segments_) system_->give_back(start, bytes);
}

const std::shared_ptr<Allocator>& Allocator::of(Device device) {
#ifdef SWITCHYARD_HAVE_CUDA
  if (device == Device::cuda) return device::memory();
#endif
  check(device == Device::cpu, "memory on {}: this program has no CUDA", name_of(device));
  thread_local const auto allocator = std::make_shared<Allocator>();
  return allocator;
}

void Allocator::insert_free(char* start, int64_t bytes, char* segment) {
  blocks_[start] = {bytes, true, segment, {}};
  free_.insert({bytes, start});
}

// What is in use, by purpose, and the largest blocks of it.
std::string Allocator::usage() const {
  std::string text;
  for (size_t p = 0; p < kNumPurposes; ++p)
    if (stats_[p].live_bytes > 0)
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name_of(static_cast<Purpose>(p)),
                          format_bytes(static_cast<double>(stats_[p].live_bytes)));
  std::vector<Block> largest;
  for (const auto& [start, block] : blocks_)
    if (!block.is_free) largest.push_back(block);
  const size_t shown = std::min<size_t>(largest.size(), 3);
  std::partial_sort(largest.begin(), largest.begin() + static_cast<std::ptrdiff_t>(shown), largest.end(),
                    [](const Block& a, const Block& b) { return a.bytes > b.bytes; });
  for (size_t i = 0; i < shown; ++i)
    text += fmt::format("{} {} of {}", i == 0 ? "; the largest:" : ",",
                        format_bytes(static_cast<double>(largest[i].bytes)), name_of(largest[i].purpose));
  return text.empty() ? "nothing" : text;
}

char* Allocator::take(int64_t bytes, Purpose purpose) {
  auto* start = static_cast<char*>(system_->take(bytes));
  check(start != nullptr, "out of memory on {}: {} for {} are not there; in use: {}", name_of(system_->device),
        format_bytes(static_cast<double>(bytes)), name_of(purpose), usage());
  count_taken(bytes);
  return start;
}

void Allocator::count_taken(int64_t bytes) {
  ++system_allocations_;
  system_bytes_ += bytes;
}

void* Allocator::allocate(int64_t bytes, Purpose purpose) {
  check(bytes >= 0, "allocate: {} bytes", bytes);
  char* start = system_->is_passed_through ? pass_through(bytes, purpose) : best_fit(bytes, purpose);
  auto count = [bytes](MemoryStats& stats) {
    stats.live_bytes += bytes;
    stats.peak_bytes = std::max(stats.peak_bytes, stats.live_bytes);
  };
  count(stats_[static_cast<size_t>(purpose)]);
  count(total_);
  return start;
}

char* Allocator::pass_through(int64_t bytes, Purpose purpose) {
  const int64_t size = std::max<int64_t>(bytes, 1);
  char* start = take(size, purpose);
  blocks_[start] = {size, false, start, purpose};
  return start;
}

// A segment of a useful size; if there is not so much, one that is just enough, in place of those that nobody uses.
void Allocator::grow(int64_t bytes, Purpose purpose) {
  int64_t size = round_up(std::max(bytes, system_->min_segment), system_->segment_unit);
  auto* start = static_cast<char*>(system_->take(size));
  if (start != nullptr) {
    count_taken(size);
  } else {
    give_back_free_segments();
    size = round_up(bytes, system_->segment_unit);
    start = take(size, purpose);
  }
  segments_.emplace_back(start, size);
  insert_free(start, size, start);
}

void Allocator::give_back_free_segments() {
  std::erase_if(segments_, [this](const auto& segment) {
    const auto [start, bytes] = segment;
    const auto block = blocks_.find(start);
    if (!block->second.is_free || block->second.bytes != bytes) return false;
    free_.erase({bytes, start});
    blocks_.erase(block);
    system_->give_back(start, bytes);
    system_bytes_ -= bytes;
    return true;
  });
}

char* Allocator::best_fit(int64_t bytes, Purpose purpose) {
  const int64_t size = round_up(std::max<int64_t>(bytes, 1), system_->alignment);
  auto best = free_.lower_bound({size, nullptr});
  if (best == free_.end()) {
    grow(size, purpose);
    best = free_.lower_bound({size, nullptr});
  }
  const auto [block_bytes, start] = *best;
  free_.erase(best);
  Block& block = blocks_.at(start);
  block.is_free = false;
  block.purpose = purpose;
  if (block_bytes > size) {
    block.bytes = size;
    insert_free(start + size, block_bytes - size, block.segment);
  }
  return start;
}

void Allocator::release(void* pointer, int64_t bytes, Purpose purpose) {
  stats_[static_cast<size_t>(purpose)].live_bytes -= bytes;
  total_.live_bytes -= bytes;
  auto block = blocks_.find(static_cast<char*>(pointer));
  check(block != blocks_.end() && !block->second.is_free, "release: not a live block");
  if (system_->is_passed_through) {
    system_->give_back(block->first, block->second.bytes);
    system_bytes_ -= block->second.bytes;
    blocks_.erase(block);
    return;
  }
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
