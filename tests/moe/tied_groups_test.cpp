// Groups of experts that must be those of a machine that is made up here.
#include "switchyard/moe/tied_groups.h"

#include "switchyard/parallel/mesh.h"
#include "tests/support/compare.h"
#include "tests/support/ranks.h"

#include <gmock/gmock.h>

namespace switchyard::moe {
namespace {

using Nodes = std::vector<int>;

MoeConfig with_groups(int64_t count, TieTo tie, int64_t keep = 1) {
  MoeConfig config;
  config.num_experts = 8;
  config.top_k = 1;
  config.router.groups = {.count = count, .keep = keep, .tie_to = tie};
  return config;
}

struct Machine {
  parallel::ParallelConfig layout;
  Nodes nodes;
  const char* why;
};

int64_t tied(const Machine& machine, const MoeConfig& config) {
  const auto layout = parallel::expert_layout(machine.layout, std::ssize(machine.nodes));
  return tie_groups(config, layout, machine.nodes).router.groups.count;
}

TEST(TiedGroups, AreThoseOfTheMachine) {
  struct Row {
    Machine machine;
    int64_t ranks, nodes;  // units of either kind
  };
  for (const Row& row :
       {Row{{{}, {0}, "one rank"}, 1, 1}, Row{{{.expert = 4}, {0, 0, 1, 1}, "two nodes of two ranks"}, 4, 2},
        Row{{{.expert = 4}, {0, 1, 2, 3}, "every rank a node"}, 4, 4},
        Row{{{.expert = 2}, {0, 0, 1, 1}, "a copy on each node"}, 2, 1},
        Row{{{.expert = 2}, {0, 1, 0, 1}, "copies that share two nodes"}, 2, 2},
        Row{{{.expert = 2}, {3, 1, 2, 0}, "nodes in any order"}, 2, 2},
        Row{{{.expert = 2, .expert_tensor = 2}, {0, 0, 1, 1}, "shards on one node"}, 2, 2},
        Row{{{.expert = 4, .expert_tensor = 2}, {0, 0, 0, 0, 1, 1, 1, 1}, "shards, two nodes"}, 4, 2},
        Row{{{.tensor = 2, .expert = 4}, {0, 0, 1, 1}, "folded over tensor ranks"}, 4, 2}}) {
    SCOPED_TRACE(row.machine.why);
    for (const auto& [tie, units] : {std::pair{TieTo::rank, row.ranks}, std::pair{TieTo::node, row.nodes}}) {
      EXPECT_EQ(tied(row.machine, with_groups(0, tie)), units);
      EXPECT_EQ(tied(row.machine, with_groups(units, tie)), units);
    }
    EXPECT_EQ(tied(row.machine, with_groups(8, TieTo::none, 3)), 8);
  }
}

void expect_refused(const Machine& machine, const MoeConfig& config, const std::vector<std::string>& pieces) {
  SCOPED_TRACE(machine.why);
  try {
    tied(machine, config);
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::usage);
    for (const std::string& piece : pieces) EXPECT_THAT(error.what(), testing::HasSubstr(piece));
  }
}

TEST(TiedGroups, OfAnotherMachineAreRefusedWithBothMaps) {
  const Machine two_nodes{{.expert = 4}, {0, 0, 1, 1}, "two nodes of two ranks"};
  expect_refused(two_nodes, with_groups(4, TieTo::node),
                 {"model.moe.router.groups", "count=4, tie_to: node", "a node holds several groups",
                  "group 1: experts 2-3", "rank 3 on node 1: experts 6-7"});
  expect_refused(two_nodes, with_groups(1, TieTo::node), {"a group lies on several nodes", "group 0: experts 0-7"});
  expect_refused(two_nodes, with_groups(2, TieTo::rank), {"a group lies on several ranks", "group 1: experts 4-7"});
  expect_refused(two_nodes, with_groups(8, TieTo::rank), {"a rank holds several groups", "group 7: expert 7"});
  expect_refused({{.expert = 4}, {0, 1, 0, 1}, "ranks dealt out in turn"}, with_groups(2, TieTo::node),
                 {"a node holds experts from several places", "rank 2 on node 0: experts 4-5"});
  expect_refused({{.expert = 4}, {0, 0, 0, 1}, "unequal nodes"}, with_groups(2, TieTo::node),
                 {"nodes hold different numbers of experts"});
  expect_refused({{.expert = 2}, {0, 0, 0, 1}, "a copy on one node, another on two"}, with_groups(0, TieTo::node),
                 {"copies of the experts lie differently", "rank 3 on node 1: experts 4-7"});
  for (const TieTo tie : {TieTo::rank, TieTo::node})
    expect_refused({{.expert_tensor = 2}, {0, 1}, "shards on two nodes"}, with_groups(1, tie),
                   {"the shards of one expert lie on several nodes", "rank 0, 1 on node 0, 1: experts 0-7"});
}

TEST(TiedGroups, ACountFromTheMachineMeetsTheRulesOfTheConfig) {
  const Machine two_nodes{{.expert = 4}, {0, 0, 1, 1}, "two nodes of two ranks"};
  expect_refused(two_nodes, with_groups(0, TieTo::node, 3),
                 {"model.moe.router.groups.keep: 3 exceeds count=2", "taken from the machine"});
  MoeConfig config = with_groups(0, TieTo::rank);
  config.top_k = 3;
  expect_refused(two_nodes, config, {"model.moe.top_k: 3 exceeds the 2 experts"});
}

}  // namespace
}  // namespace switchyard::moe
