// Ranks are threads here; tests/mpi runs the same checks on processes.
#include "switchyard/comm/agree.h"
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

TEST(World, OfTheFirstRanksIsOneOfItsOwn) {
  run_ranks(4, [](comm::World& world) {
    for (const int count : {3, 1, 4}) {
      if (world.rank() >= count) continue;
      const comm::World first = world.first(count);
      EXPECT_EQ(first.rank(), world.rank());
      EXPECT_EQ(first.size(), count);
      EXPECT_EQ(first.nodes().size(), static_cast<size_t>(count));
      test::check_every_collective(first.all());
      if (count > 1 && world.rank() < 2) test::check_every_collective(first.split({0, 1}));
    }
    test::check_every_collective(world.all());
    if (world.rank() == 3) {
      EXPECT_THROW(world.first(3), Error);
    }
  });
}

TEST(Agree, NamesTheFirstLineThatDiffers) {
  const std::string failure = test::first_failure_of_ranks(3, [](comm::World& world) {
    comm::require_same(world.all(), ExitCode::usage, "the text", world.rank() < 2 ? "a\nb\nc\n" : "a\nd\nc\n");
  });
  EXPECT_NE(failure.find("the text must be the same on all ranks\n  rank 0: b\n  rank 2: d"), std::string::npos)
      << failure;
  const std::string shorter = test::first_failure_of_ranks(2, [](comm::World& world) {
    comm::require_same(world.all(), ExitCode::usage, "the text", world.rank() == 0 ? "a\nb" : "a");
  });
  EXPECT_NE(shorter.find("rank 0: b\n  rank 1: (nothing more)"), std::string::npos) << shorter;
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
