// The allocator counts exactly, aligns, reuses, and asks the system for nothing once a pattern of sizes is known.
#include "switchyard/device/allocator.h"

#include <gtest/gtest.h>

#include <cstring>

namespace switchyard {
namespace {

TEST(Allocator, CountsLiveAndPeakBytesPerPurpose) {
  Allocator allocator;
  void* a = allocator.allocate(100, Purpose::weights);
  void* b = allocator.allocate(1000, Purpose::activations);
  EXPECT_EQ(allocator.stats(Purpose::weights).live_bytes, 100);
  EXPECT_EQ(allocator.total().live_bytes, 1100);
  allocator.release(b, 1000, Purpose::activations);
  EXPECT_EQ(allocator.stats(Purpose::activations).live_bytes, 0);
  EXPECT_EQ(allocator.stats(Purpose::activations).peak_bytes, 1000);
  allocator.reset_peaks();
  EXPECT_EQ(allocator.stats(Purpose::activations).peak_bytes, 0);
  EXPECT_EQ(allocator.total().peak_bytes, 100);
  allocator.release(a, 100, Purpose::weights);
}

TEST(Allocator, BlocksAreAlignedAndDisjoint) {
  Allocator allocator;
  std::vector<std::pair<unsigned char*, int64_t>> blocks;
  for (int64_t bytes : {0, 1, 63, 64, 65, 4097, 40 << 20, 7}) {
    auto* p = static_cast<unsigned char*>(allocator.allocate(bytes, Purpose::buffers));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % 64, 0u);
    std::memset(p, static_cast<int>(blocks.size()), static_cast<size_t>(bytes));
    blocks.emplace_back(p, bytes);
  }
  for (size_t i = 0; i < blocks.size(); ++i) {
    for (int64_t j = 0; j < blocks[i].second; ++j) ASSERT_EQ(blocks[i].first[j], i);
    allocator.release(blocks[i].first, blocks[i].second, Purpose::buffers);
  }
}

TEST(Allocator, FreedNeighboursMergeSoThatAStepWithOtherSizesFits) {
  Allocator allocator;
  auto step = [&](int64_t shift) {
    std::vector<std::pair<void*, int64_t>> blocks;
    for (int64_t i = 0; i < 40; ++i) {
      const int64_t bytes = 100000 + (i * 7919 + shift * 104729) % 50000;
      blocks.emplace_back(allocator.allocate(bytes, Purpose::activations), bytes);
    }
    for (size_t i = 0; i < blocks.size(); i += 2)
      allocator.release(blocks[i].first, blocks[i].second, Purpose::activations);
    for (size_t i = 1; i < blocks.size(); i += 2)
      allocator.release(blocks[i].first, blocks[i].second, Purpose::activations);
  };
  step(0);
  const int64_t before = allocator.system_allocations();
  for (int64_t shift = 1; shift < 50; ++shift) step(shift);
  EXPECT_EQ(allocator.system_allocations(), before);
  void* all = allocator.allocate(allocator.system_bytes(), Purpose::activations);  // only if everything merged again
  EXPECT_EQ(allocator.system_allocations(), before);
  allocator.release(all, allocator.system_bytes(), Purpose::activations);
}

}  // namespace
}  // namespace switchyard
