#include "switchyard/parallel/mesh.h"

#include "tests/support/ranks.h"

#include <gmock/gmock.h>

namespace switchyard::parallel {
namespace {

using Ranks = std::vector<int>;
using test::run_ranks;

const nn::Placement kWhole{};
const nn::Placement kExperts{nn::View::expert, {{.dim = 0, .axis = "ep"}}};

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
    EXPECT_EQ(mesh.replicas(kExperts).ranks(), world.rank() % 2 == 0 ? (Ranks{0, 2}) : (Ranks{1, 3}));
    EXPECT_EQ(mesh.replicas(kWhole).ranks(), (Ranks{0, 1, 2, 3}));
    EXPECT_EQ(mesh.coordinate(nn::View::expert, "ep"), world.rank() % 2);
    EXPECT_EQ(mesh.coordinate(nn::View::dense, "dp"), world.rank());
    EXPECT_EQ(mesh.describe(), "4 ranks: data 4, experts split over 2, each held by 2");
  });
}

TEST(Mesh, FoldsExpertsOverDataAndTensorRanks) {
  run_ranks(8, [](comm::World& world) {
    const Mesh mesh({.tensor = 2, .expert = 2, .expert_tensor = 2}, world);
    const int r = world.rank(), pair = r / 2 * 2, four = r / 4 * 4;
    EXPECT_EQ(mesh.tensor().ranks(), (Ranks{pair, pair + 1}));
    EXPECT_EQ(mesh.data().ranks(), (r % 2 == 0 ? Ranks{0, 2, 4, 6} : Ranks{1, 3, 5, 7}));
    EXPECT_EQ(mesh.tokens().size(), 8);
    EXPECT_EQ(mesh.describe(), "8 ranks: data 4, tensor 2, experts split over 2 x 2, each held by 2");
    EXPECT_EQ(mesh.expert_tensor().ranks(), (Ranks{pair, pair + 1}));
    EXPECT_EQ(mesh.expert().ranks(), (Ranks{four + r % 2, four + r % 2 + 2}));
    EXPECT_EQ(mesh.replicas(kExperts).ranks(),
              (Ranks{r % 4 / 2 * 2, r % 4 / 2 * 2 + 1, r % 4 / 2 * 2 + 4, r % 4 / 2 * 2 + 5}));
    const nn::Placement split{nn::View::expert, {{.dim = 0, .axis = "ep"}, {.dim = 2, .axis = "etp"}}};
    EXPECT_EQ(mesh.replicas(split).ranks(), (Ranks{r % 4, r % 4 + 4}));
  });
}

TEST(Mesh, SeesExpertRanksByNode) {
  run_ranks(8, [](comm::World& world) {
    const int r = world.rank();
    world.set_ranks_per_node(4);
    const Mesh mesh({.expert = 4, .expert_tensor = 2}, world);  // every second rank, two on a node
    ASSERT_TRUE(mesh.expert_nodes());
    EXPECT_EQ(mesh.expert_nodes()->inside.ranks(), (Ranks{r / 4 * 4 + r % 2, r / 4 * 4 + r % 2 + 2}));
    EXPECT_EQ(mesh.expert_nodes()->across.ranks(), (Ranks{r % 4, r % 4 + 4}));
    EXPECT_FALSE(Mesh({.expert = 4}, world).expert_nodes()) << "each group is on one node";
    world.set_ranks_per_node(1);
    EXPECT_EQ(Mesh({.expert = 8}, world).expert_nodes()->across.size(), 8);
  });
  run_ranks(6, [](comm::World& world) {
    world.set_ranks_per_node(2);
    const Mesh mesh({.expert = 3}, world);
    EXPECT_FALSE(mesh.expert_nodes()) << "two of the ranks on one node, one on another";
    EXPECT_EQ(mesh.expert_by_node(),
              world.rank() < 3 ? "ranks 0 1 2 are on nodes 0 0 1" : "ranks 3 4 5 are on nodes 1 2 2");
  });
}

TEST(Mesh, PartsThatSeveralRanksHoldHaveMoreReplicas) {
  run_ranks(4, [](comm::World& world) {
    const Mesh mesh({.tensor = 4}, world);
    const nn::Placement kv_heads{nn::View::dense, {{.dim = 0, .axis = "tp", .max_parts = 2}}};
    EXPECT_EQ(mesh.part(kv_heads, kv_heads.shards[0]), (Mesh::Part{world.rank() / 2, 2}));
    EXPECT_EQ(mesh.replicas(kv_heads).ranks(), world.rank() < 2 ? (Ranks{0, 1}) : (Ranks{2, 3}));
    EXPECT_EQ(mesh.replicas(kWhole).size(), 4);
    const nn::Placement thirds{nn::View::dense, {{.dim = 0, .axis = "tp", .max_parts = 3}}};
    EXPECT_THROW(mesh.replicas(thirds), Error);
  });
}

TEST(Mesh, OfOneRankHasGroupsOfOne) {
  comm::World world = comm::World::self();
  const Mesh mesh(ParallelConfig{}, world);
  for (const comm::Group& group :
       {mesh.all(), mesh.data(), mesh.tensor(), mesh.tokens(), mesh.expert(), mesh.replicas(kExperts)})
    EXPECT_EQ(group.size(), 1);
}

TEST(Mesh, GroupsCommunicate) {
  run_ranks(4, [](comm::World& world) {
    const Mesh mesh(with_experts(2), world);
    int64_t over_experts = world.rank(), over_replicas = world.rank();
    mesh.expert().all_reduce(&over_experts, 1, DType::i64).wait();
    mesh.replicas(kExperts).all_reduce(&over_replicas, 1, DType::i64).wait();
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
