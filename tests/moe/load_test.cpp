// Load metrics against golden G21 of the routing specification, and at the ends of their range.
#include "switchyard/moe/load.h"

#include <gtest/gtest.h>

namespace switchyard::moe {
namespace {

TEST(Load, GivesThePublishedNumbers) {
  const Load load = load_of({10, 8, 8, 6});
  EXPECT_NEAR(load.entropy, 1.37050239, 1e-8);
  EXPECT_NEAR(load.normalized_entropy, 0.988608501, 1e-9);
  EXPECT_NEAR(load.max_over_mean, 1.25, 1e-15);
}

// Golden G6: each micro-batch over its two ranks, by itself.
TEST(Load, OfMicroBatchesGivesThePublishedNumbers) {
  EXPECT_NEAR(load_of({5 + 1, 1 + 2, 1 + 3, 1 + 2}).max_over_mean - 1, 0.5, 1e-15);
  EXPECT_NEAR(load_of({4 + 0, 2 + 3, 1 + 3, 1 + 2}).max_over_mean - 1, 0.25, 1e-15);
}

TEST(Load, IsOneAtBalanceAndEWhenOneExpertTakesAll) {
  const Load even = load_of({3, 3, 3});
  EXPECT_DOUBLE_EQ(even.max_over_mean, 1);
  EXPECT_NEAR(even.normalized_entropy, 1, 1e-15);
  const Load skewed = load_of({0, 12, 0, 0});
  EXPECT_DOUBLE_EQ(skewed.max_over_mean, 4);
  EXPECT_EQ(skewed.entropy, 0);
}

TEST(Load, IsDefinedForOneExpertAndForNoTokens) {
  EXPECT_DOUBLE_EQ(load_of({7}).normalized_entropy, 1);
  EXPECT_EQ(load_of({0, 0}).max_over_mean, 0);
}

TEST(Load, SumsRunsOfExpertsForRanks) {
  EXPECT_EQ(sum_parts({1, 2, 3, 4, 5, 6}, 2), (std::vector<int64_t>{6, 15}));
  EXPECT_EQ(sum_parts({1, 2, 3}, 1), (std::vector<int64_t>{6}));
}

}  // namespace
}  // namespace switchyard::moe
