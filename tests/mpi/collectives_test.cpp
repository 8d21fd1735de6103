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

TEST(MpiWorld, OfTheFirstRanksIsOneOfItsOwn) {
  for (int count = 1; count <= test::world().size(); ++count)
    if (test::world().rank() < count) test::check_every_collective(test::world().first(count).all());
}

}  // namespace
}  // namespace switchyard
