// The allocator counts exactly, aligns, reuses, and asks the system for nothing once a pattern of sizes is known; it
// says what is in use when there is no more.
#include "switchyard/device/allocator.h"

#include "switchyard/base/error.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <string>

namespace switchyard {
namespace {

// So many bytes and no more, on 256 bytes.
class SmallMemory : public SystemMemory {
 public:
  struct Log {
    int64_t taken = 0, given_back = 0, live_bytes = 0, last_bytes = 0;
  };
  SmallMemory(int64_t bytes, Log* log, bool has_pool = true) : bytes_(bytes), log_(log) {
    alignment = 256;
    is_passed_through = !has_pool;
  }
  void* take(int64_t bytes) override {
    if (log_->live_bytes + bytes > bytes_) return nullptr;
    ++log_->taken;
    log_->live_bytes += bytes;
    log_->last_bytes = bytes;
    return std::aligned_alloc(256, static_cast<size_t>((bytes + 255) / 256 * 256));
  }
  void give_back(void* start, int64_t bytes) override {
    ++log_->given_back;
    log_->live_bytes -= bytes;
    std::free(start);
  }

 private:
  int64_t bytes_;
  Log* log_;
};

constexpr int64_t kMiB = 1 << 20;

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

TEST(Allocator, BlocksLieOnTheAlignmentOfTheSystem) {
  SmallMemory::Log log;
  Allocator allocator(std::make_unique<SmallMemory>(64 * kMiB, &log));
  for (int64_t bytes : {1, 255, 256, 257})
    EXPECT_EQ(reinterpret_cast<uintptr_t>(allocator.allocate(bytes, Purpose::buffers)) % 256, 0u) << bytes;
  EXPECT_EQ(allocator.total().live_bytes, 1 + 255 + 256 + 257);
  EXPECT_EQ(log.taken, 1);
}

TEST(Allocator, PassedThroughEveryAllocationHasItsExactBytes) {
  SmallMemory::Log log;
  Allocator allocator(std::make_unique<SmallMemory>(kMiB, &log, false));
  void* a = allocator.allocate(1000, Purpose::weights);
  EXPECT_EQ(log.last_bytes, 1000);
  void* b = allocator.allocate(0, Purpose::weights);
  EXPECT_EQ(log.last_bytes, 1);
  EXPECT_NE(a, b);
  allocator.release(a, 1000, Purpose::weights);
  EXPECT_EQ(log.given_back, 1);
  EXPECT_EQ(allocator.system_bytes(), 1);
  EXPECT_EQ(allocator.system_allocations(), 2);
  EXPECT_EQ(allocator.total().live_bytes, 0);
  allocator.release(b, 0, Purpose::weights);
  EXPECT_EQ(log.live_bytes, 0);
}

TEST(Allocator, ASegmentMayBeJustEnough) {
  SmallMemory::Log log;
  Allocator allocator(std::make_unique<SmallMemory>(10 * kMiB, &log));  // less than a segment of the usual size
  allocator.allocate(3 * kMiB, Purpose::weights);
  EXPECT_EQ(log.last_bytes, 4 * kMiB);
}

TEST(Allocator, FreeSegmentsGoBackBeforeItGivesUp) {
  SmallMemory::Log log;
  Allocator allocator(std::make_unique<SmallMemory>(100 * kMiB, &log));
  void* a = allocator.allocate(40 * kMiB, Purpose::activations);
  void* b = allocator.allocate(40 * kMiB, Purpose::activations);
  allocator.release(a, 40 * kMiB, Purpose::activations);
  allocator.allocate(60 * kMiB, Purpose::activations);
  EXPECT_EQ(log.given_back, 1);
  EXPECT_EQ(allocator.system_bytes(), 100 * kMiB);
  allocator.release(b, 40 * kMiB, Purpose::activations);
}

TEST(Allocator, OutOfMemoryNamesPurposesAndTheLargestBlocks) {
  SmallMemory::Log log;
  Allocator allocator(std::make_unique<SmallMemory>(100 * kMiB, &log));
  allocator.allocate(40 * kMiB, Purpose::weights);
  void* freed = allocator.allocate(2 * kMiB, Purpose::gradients);
  allocator.allocate(kMiB, Purpose::optimizer);
  allocator.release(freed, 2 * kMiB, Purpose::gradients);
  try {
    allocator.allocate(80 * kMiB, Purpose::activations);
    FAIL() << "80 MiB more than there are";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::internal);
    EXPECT_NE(std::string(error.what())
                  .find("out of memory on cpu: 80.0 MiB for activations are not there; in use: weights 40.0 MiB, "
                        "optimizer 1.00 MiB; the largest: 40.0 MiB of weights, 1.00 MiB of optimizer"),
              std::string::npos)
        << error.what();
  }
  EXPECT_EQ(allocator.total().live_bytes, 41 * kMiB);
  allocator.allocate(kMiB, Purpose::activations);  // what fits goes on
}

}  // namespace
}  // namespace switchyard
