#include "switchyard/parallel/mesh.h"

#include "tests/support/ranks.h"

#include <gmock/gmock.h>

namespace switchyard::parallel {
namespace {

using Ranks = std::vector<int>;
using test::run_ranks;

ParallelConfig with_experts(int64_t expert) {
  ParallelConfig config;
  config.expert = expert;
  return config;
}

TEST(Mesh, FoldsExpertsOverDataRanks) {
  run_ranks(4, [](comm::World& world) {
    const Mesh mesh(with_experts(2), world);
    EXPECT_EQ(mesh.data().ranks(), (Ranks{0, 1, 2, 3}));
    EXPECT_EQ(mesh.expert().ranks(), world.rank() < 2 ? (Ranks{0, 1}) : (Ranks{2, 3}));
    EXPECT_EQ(mesh.replicas(nn::View::expert).ranks(), world.rank() % 2 == 0 ? (Ranks{0, 2}) : (Ranks{1, 3}));
    EXPECT_EQ(mesh.replicas(nn::View::dense).ranks(), (Ranks{0, 1, 2, 3}));
    EXPECT_EQ(mesh.coordinate(nn::View::expert, "ep"), world.rank() % 2);
    EXPECT_EQ(mesh.coordinate(nn::View::dense, "dp"), world.rank());
    EXPECT_EQ(mesh.axes(), "4 ranks: dense pp 1 x dp 4 x cp 1 x tp 1; experts pp 1 x edp 2 x ep 2 x etp 1");
  });
}

TEST(Mesh, OfOneRankHasGroupsOfOne) {
  comm::World world = comm::World::self();
  const Mesh mesh(ParallelConfig{}, world);
  for (const comm::Group& group : {mesh.all(), mesh.data(), mesh.expert(), mesh.replicas(nn::View::expert)})
    EXPECT_EQ(group.size(), 1);
}

TEST(Mesh, GroupsCommunicate) {
  run_ranks(4, [](comm::World& world) {
    const Mesh mesh(with_experts(2), world);
    int64_t over_experts = world.rank(), over_replicas = world.rank();
    mesh.expert().all_reduce(&over_experts, 1, DType::i64).wait();
    mesh.replicas(nn::View::expert).all_reduce(&over_replicas, 1, DType::i64).wait();
    EXPECT_EQ(over_experts, world.rank() < 2 ? 1 : 5);
    EXPECT_EQ(over_replicas, world.rank() % 2 == 0 ? 2 : 4);
  });
}

// Every rank finds out by itself: nobody is left waiting.
TEST(Mesh, RefusesSizesThatDoNotFitOnEveryRankWithBothNumbers) {
  struct Row {
    int64_t expert, data;
    const char* numbers[2];
  };
  for (const Row& row : {Row{3, 0, {"3", "4"}}, Row{1, 3, {"4", "3"}}, Row{8, 0, {"8", "4"}}}) {
    run_ranks(4, [&](comm::World& world) {
      ParallelConfig config = with_experts(row.expert);
      config.data = row.data;
      try {
        const Mesh mesh(config, world);
        ADD_FAILURE() << "accepted expert=" << row.expert << " data=" << row.data;
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ExitCode::usage);
        for (const char* number : row.numbers) EXPECT_THAT(error.what(), testing::HasSubstr(number));
      }
    });
  }
}

}  // namespace
}  // namespace switchyard::parallel
