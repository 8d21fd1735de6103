// Groups of experts that are the nodes of a run: what they save, what a checkpoint of it says, and where it opens.
#include "tests/support/runs.h"

namespace switchyard::test {
namespace {

// Two ranks, each a node with half of the experts.
Train two_nodes(const std::string& groups) {
  return {"tiny",
          2,
          {"parallel.expert=2", "parallel.dispatcher=alltoall", "parallel.ranks_per_node=1", "train.steps=4",
           "checkpoint.every=4", "model.moe.router.groups=" + groups}};
}
constexpr const char* kOneNode = "{count: 0, keep: 1, score: top2_sum, tie_to: node}";

int64_t bytes_between_nodes(const std::vector<Json>& records) {
  int64_t sum = 0;
  for (const Json& record : records) sum += record.at("routing/1/bytes_network").get<int64_t>();
  return sum;
}

TEST(LimitedRouting, KeepsATokenOnAsManyNodes) {
  const Scratch scratch;
  const std::string limited = scratch.path("limited"), free = scratch.path("free");
  must_train(two_nodes(kOneNode), limited);
  must_train(two_nodes("{count: 2, keep: 2}"), free);
  const auto one = metrics_of(limited), any = metrics_of(free);
  for (const Json& record : one) {
    EXPECT_EQ(record.at("routing/1/nodes_per_token_mean"), 1);
    EXPECT_EQ(record.at("routing/1/nodes_per_token_max"), 1);
    EXPECT_EQ(record.at("routing/1/ranks_per_token_max"), 1);
    EXPECT_EQ(record.at("routing/1/bytes_node"), 0);
  }
  EXPECT_EQ(any.front().at("routing/1/nodes_per_token_max"), 2);
  EXPECT_GT(any.front().at("routing/1/nodes_per_token_mean"), 1.2);
  EXPECT_GT(bytes_between_nodes(one), 0);
  // Rows of one choice: width 32 in f32, its weight beside it on the way there; forward and backward.
  EXPECT_EQ(bytes_between_nodes(one) % (2 * (2 * 32 * 4 + 4)), 0);
}

TEST(LimitedRouting, OfAMachineIsRecordedAndOpensOnAnother) {
  const Scratch scratch;
  const std::string dir = scratch.path("run");
  must_train(two_nodes(kOneNode), dir);
  EXPECT_NE(read_text(dir + "/config.yaml").find("count: 2 "), std::string::npos) << read_text(dir + "/config.yaml");
  expect_outcome(run({program(), "eval", dir}), 0);
  expect_outcome(run({program(), "generate", dir, "--prompt", "the", "--max-tokens", "4"}), 0);
  // One rank is no longer the machine of the groups.
  const Train one_rank{"tiny", 1, {"train.steps=6", "checkpoint.every=6"}};
  const std::string groups = "model.moe.router.groups={count: 2, keep: 1, score: top2_sum, tie_to: ";
  expect_outcome(train(one_rank.with({groups + "node}"}), dir), 64,
                 {"do not match the machine (count=2, tie_to: node)", "a node holds several groups",
                  "rank 0 on node 0: experts 0-3"});
  expect_outcome(train(one_rank.with({"model.moe.router.groups={count: 4, keep: 2}"}), dir), 64,
                 {"model.moe.router.groups.count was 2"});
  expect_outcome(train(one_rank.with({groups + "none}"}), dir), 0, {"resumed"});
  EXPECT_EQ(last_step(dir), 6);
}

}  // namespace
}  // namespace switchyard::test
