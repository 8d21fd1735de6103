// Permutations are bijections that differ; blends equal the reference's vectors.
#include "switchyard/data/order.h"

#include <gtest/gtest.h>

namespace switchyard::data {
namespace {

TEST(Permutation, IsABijectionForEverySize) {
  for (int64_t n : {1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 1000, 4097}) {
    const Permutation permutation(7, 0, 0, n);
    std::vector<int> seen(static_cast<size_t>(n), 0);
    for (int64_t i = 0; i < n; ++i) ++seen.at(static_cast<size_t>(permutation(i)));
    for (const int count : seen) ASSERT_EQ(count, 1) << "n=" << n;
  }
}

TEST(Permutation, DependsOnSeedSourceAndEpoch) {
  constexpr int64_t kN = 1000;
  const Permutation base(7, 0, 0, kN), other[] = {{8, 0, 0, kN}, {7, 1, 0, kN}, {7, 0, 1, kN}};
  for (const Permutation& permutation : other) {
    int equal = 0;
    for (int64_t i = 0; i < kN; ++i) equal += permutation(i) == base(i);
    EXPECT_LT(equal, 20);
  }
}

TEST(Permutation, MovesNeighboursApart) {
  constexpr int64_t kN = 10000;
  const Permutation permutation(1, 0, 0, kN);
  int64_t near = 0;
  for (int64_t i = 1; i < kN; ++i) near += std::abs(permutation(i) - permutation(i - 1)) < kN / 100;
  EXPECT_LT(near, kN / 20);  // about 2 % by chance
}

TEST(Permutation, WorksBeyond32Bits) {
  constexpr int64_t kN = int64_t{1} << 40;
  const Permutation permutation(3, 0, 0, kN - 5);
  for (int64_t i = 0; i < 100; ++i) {
    EXPECT_GE(permutation(i), 0);
    EXPECT_LT(permutation(i), kN - 5);
  }
}

TEST(Blend, EqualsTheReferenceVector) {
  Blend blend({.5, .3, .2});
  std::vector<int64_t> got;
  for (int64_t s = 0; s < 12; ++s) got.push_back(blend.at(s).source);
  EXPECT_EQ(got, (std::vector<int64_t>{0, 1, 2, 0, 1, 0, 2, 0, 1, 0, 0, 1}));
}

TEST(Blend, IsAFunctionOfTheIndexInAnyOrder) {
  Blend forward({3, 1, 2}), random({3, 1, 2});
  std::vector<std::pair<int64_t, int64_t>> want;
  for (int64_t s = 0; s < 200; ++s) want.emplace_back(forward.at(s).source, forward.at(s).index);
  for (int64_t s : {150, 3, 199, 0, 77, 77, 78}) {
    const auto pick = random.at(s);
    EXPECT_EQ(std::make_pair(pick.source, pick.index), want[static_cast<size_t>(s)]) << s;
  }
}

TEST(Blend, IndicesOfASourceCountUp) {
  Blend blend({1, 4});
  std::vector<int64_t> next(2, 0);
  for (int64_t s = 0; s < 500; ++s) {
    const auto pick = blend.at(s);
    EXPECT_EQ(pick.index, next[static_cast<size_t>(pick.source)]++);
  }
  EXPECT_NEAR(static_cast<double>(next[1]), 400, 2);
}

}  // namespace
}  // namespace switchyard::data
