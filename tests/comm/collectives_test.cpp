// Ranks are threads here; tests/mpi runs the same checks on processes.
#include "tests/comm/collective_checks.h"
#include "tests/support/ranks.h"

namespace switchyard {
namespace {

using test::run_ranks;

TEST(Collectives, EqualPlainLoopsForAnyNumberOfRanks) {
  for (const int n : {1, 2, 3, 5}) run_ranks(n, [](comm::World& world) { test::check_every_collective(world.all()); });
}

TEST(Collectives, OfAGroupOfOneReturnTheirInput) {
  test::check_every_collective(comm::Group());
  test::check_every_collective(comm::World::self().all());
}

TEST(Collectives, OfSubgroupsDoNotMeet) {
  for (const int n : {2, 4, 6}) run_ranks(n, [](comm::World& world) { test::check_split(world); });
}

TEST(World, NumbersNodesByRanksPerNode) {
  run_ranks(4, [](comm::World& world) {
    EXPECT_EQ(world.nodes(), (std::vector<int>{0, 0, 0, 0}));
    world.set_ranks_per_node(2);
    EXPECT_EQ(world.nodes(), (std::vector<int>{0, 0, 1, 1}));
    EXPECT_THROW(world.set_ranks_per_node(3), Error);
  });
}

}  // namespace
}  // namespace switchyard
