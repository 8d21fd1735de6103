// The checks of tests/comm on processes.
#include "tests/comm/collective_checks.h"
#include "tests/mpi/world.h"

namespace switchyard {
namespace {

TEST(MpiCollectives, EqualPlainLoops) { test::check_every_collective(test::world().all()); }

TEST(MpiCollectives, OfSubgroupsDoNotMeet) { test::check_split(test::world()); }

TEST(MpiWorld, FindsTheRanksOfOneMachineOnOneNode) {
  EXPECT_EQ(test::world().nodes(), std::vector<int>(static_cast<size_t>(test::world().size()), 0));
}

}  // namespace
}  // namespace switchyard
