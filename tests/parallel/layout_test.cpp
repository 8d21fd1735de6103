#include "switchyard/parallel/layout.h"

#include "switchyard/base/error.h"

#include <gtest/gtest.h>

#include <set>

namespace switchyard::parallel {
namespace {

using Ranks = std::vector<int>;

// The 16 ranks of the example in docs: two pipeline stages of 8.
const Layout kDense{{{"pp", 2}, {"dp", 4}, {"cp", 1}, {"tp", 2}}};
const Layout kExpert{{{"pp", 2}, {"edp", 2}, {"ep", 4}, {"etp", 1}}};

TEST(Layout, TheLastAxisJoinsNeighbours) {
  EXPECT_EQ(kDense.peers(0, {"tp"}), (Ranks{0, 1}));
  EXPECT_EQ(kDense.peers(5, {"tp"}), (Ranks{4, 5}));
  EXPECT_EQ(kDense.peers(5, {"dp"}), (Ranks{1, 3, 5, 7}));
  EXPECT_EQ(kDense.peers(5, {"pp"}), (Ranks{5, 13}));
}

TEST(Layout, ExpertsAreSplitOverNeighboursWithinAStage) {
  EXPECT_EQ(kExpert.peers(0, {"ep"}), (Ranks{0, 1, 2, 3}));
  EXPECT_EQ(kExpert.peers(14, {"ep"}), (Ranks{12, 13, 14, 15}));
  EXPECT_EQ(kExpert.peers(14, {"edp"}), (Ranks{10, 14}));
}

TEST(Layout, BothViewsCoverTheSameRanks) {
  EXPECT_EQ(kDense.num_ranks(), kExpert.num_ranks());
  for (int rank = 0; rank < 16; ++rank)
    EXPECT_EQ(kDense.peers(rank, {"dp", "cp", "tp"}), kExpert.peers(rank, {"edp", "ep", "etp"}));
}

TEST(Layout, SeveralAxesMakeTheUnion) {
  EXPECT_EQ(kDense.peers(3, {"dp", "tp"}), (Ranks{0, 1, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(kDense.peers(3, {"pp", "dp", "cp", "tp"}).size(), 16u);
  EXPECT_EQ(kDense.peers(3, {}), (Ranks{3}));
  EXPECT_EQ(kDense.peers(3, {"cp"}), (Ranks{3}));
}

TEST(Layout, CoordinatesNameEachRankOnce) {
  std::set<std::vector<int64_t>> seen;
  for (int rank = 0; rank < 16; ++rank) {
    std::vector<int64_t> at;
    for (const char* axis : {"pp", "dp", "cp", "tp"}) {
      at.push_back(kDense.coordinate(rank, axis));
      EXPECT_LT(at.back(), kDense.axis_size(axis));
    }
    seen.insert(at);
  }
  EXPECT_EQ(seen.size(), 16u);
}

TEST(Layout, GroupsAlongAnAxisPartitionTheRanks) {
  for (const char* axis : {"pp", "dp", "cp", "tp"})
    for (int rank = 0; rank < 16; ++rank)
      for (const int peer : kDense.peers(rank, {axis}))
        EXPECT_EQ(kDense.peers(peer, {axis}), kDense.peers(rank, {axis}));
}

TEST(Layout, RefusesAnUnknownAxis) { EXPECT_THROW(kDense.peers(0, {"ep"}), Error); }

}  // namespace
}  // namespace switchyard::parallel
