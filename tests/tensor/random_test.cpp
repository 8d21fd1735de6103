// Philox against its published vectors; the distributions against their moments.
#include "switchyard/tensor/random.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace switchyard {
namespace {

TEST(Philox, EqualsTheKnownAnswersOfRandom123) {
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, DependsOnSeedPurposeAndIndexOnly) {
  const Random a(1, "x"), again(1, "x"), other_seed(2, "x"), other_purpose(1, "y");
  std::set<uint64_t> seen;
  for (uint64_t i = 0; i < 1000; ++i) {
    EXPECT_EQ(a.bits(i), again.bits(i));
    seen.insert(a.bits(i));
    seen.insert(other_seed.bits(i));
    seen.insert(other_purpose.bits(i));
  }
  EXPECT_EQ(seen.size(), 3000u);
}

TEST(Random, NormalAndUniformHaveTheirMoments) {
  const Random r(7, "moments");
  double mean = 0, square = 0, uniform = 0;
  constexpr int kCount = 200000;
  for (uint64_t i = 0; i < kCount; ++i) {
    const double x = r.normal(i), u = r.uniform(i);
    ASSERT_TRUE(u >= 0 && u < 1);
    mean += x, square += x * x, uniform += u;
  }
  EXPECT_NEAR(mean / kCount, 0, 0.01);
  EXPECT_NEAR(square / kCount, 1, 0.02);
  EXPECT_NEAR(uniform / kCount, 0.5, 0.005);
}

TEST(Random, BelowStaysBelow) {
  const Random r(7, "below");
  std::set<uint64_t> seen;
  for (uint64_t i = 0; i < 500; ++i) {
    ASSERT_LT(r.below(i, 6), 6u);
    seen.insert(r.below(i, 6));
  }
  EXPECT_EQ(seen.size(), 6u);
}

}  // namespace
}  // namespace switchyard
