// Every part of a range is done, whatever number of threads OpenMP grants.
#include "switchyard/base/threads.h"

#include "switchyard/base/error.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

namespace switchyard {
namespace {

// How often each of [0, n) is visited, and each part.
struct Visits {
  explicit Visits(int64_t n) : elements(static_cast<size_t>(n)), parts(static_cast<size_t>(num_threads())) {
    parallel_ranges(n, 1, [&](int64_t begin, int64_t end, int part) {
      for (int64_t i = begin; i < end; ++i) ++elements[static_cast<size_t>(i)];
      ++parts[static_cast<size_t>(part)];
    });
  }
  bool are_one_each() const {
    const auto is_one = [](const std::atomic<int>& count) { return count == 1; };
    return std::ranges::all_of(elements, is_one) && std::ranges::all_of(parts, is_one);
  }
  std::vector<std::atomic<int>> elements, parts;
};

TEST(ParallelRanges, CoverTheRangeOnceForAnyNumberOfThreads) {
  const int before = num_threads();
  for (const int threads : {1, 2, 3, 5}) {
    set_num_threads(threads);
    EXPECT_TRUE(Visits(1001).are_one_each()) << threads;
  }
  set_num_threads(before);
}

// A region inside another one is granted one thread, as every region is under OMP_THREAD_LIMIT=1.
TEST(ParallelRanges, CoverTheRangeOnceWhereFewerThreadsAreGranted) {
  const int before = num_threads();
  set_num_threads(4);
  std::vector<std::atomic<int>> good(2);
  parallel_items(2, [&](int64_t i) { good[static_cast<size_t>(i)] = Visits(1001).are_one_each(); });
  set_num_threads(before);
  EXPECT_TRUE(good[0] && good[1]);
}

TEST(ParallelRanges, ThrowAgainWhatABodyThrew) {
  const int before = num_threads();
  set_num_threads(3);
  auto fails = [](int64_t i) { check(i != 70, "seventy"); };
  EXPECT_THROW(parallel_for(100, 1, fails), Error);
  EXPECT_THROW(parallel_items(100, fails), Error);
  set_num_threads(before);
}

}  // namespace
}  // namespace switchyard
