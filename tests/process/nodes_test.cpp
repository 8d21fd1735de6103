// Several nodes, emulated by network namespaces: what crosses between them are real bytes, counted by the kernel.
#include "tests/support/runs.h"

#include <gmock/gmock.h>

#include <map>
#include <sstream>

namespace switchyard::test {
namespace {

constexpr int kUnavailable = 69;  // of the script, where namespaces or a tool are missing

Command on_two_nodes(const Command& command) {
  return Command{source_file("scripts/emulated-nodes.sh"), "2", "mpirun", "-n", "4"} + command;
}

class TwoNodes : public testing::Test {
 protected:
  void SetUp() override {
    const Outcome outcome = run(Command{source_file("scripts/emulated-nodes.sh"), "1", "true"});
    if (outcome.code == kUnavailable) GTEST_SKIP() << outcome.err;
    expect_outcome(outcome, 0, {"node0: "});
  }
  // What shapes the link of each node, as the kernel says; empty where tc cannot make it.
  static std::vector<std::string> links(const Command& options, std::string& reason) {
    const Outcome outcome =
        run(Command{source_file("scripts/emulated-nodes.sh")} + options +
            Command{"2", "mpirun", "-n", "2", "--map-by", "node", "tc", "qdisc", "show", "dev", "eth0"});
    if (outcome.code == kUnavailable) {
      reason = outcome.err;
      return {};
    }
    expect_outcome(outcome, 0);
    std::vector<std::string> lines;
    std::istringstream text(outcome.out);
    for (std::string line; std::getline(text, line);) lines.push_back(line);
    return lines;
  }
  Scratch scratch_;
};

TEST_F(TwoNodes, HierarchicalPutsARowOnTheLinkOnceForEachNode) {
  const std::string json = scratch_.path("bench.json");
  expect_outcome(run(on_two_nodes({program(), "bench", "dispatch", "--tokens", "1024", "--width", "256", "--experts",
                                   "16", "--top-k", "2,4,8", "--repeats", "3", "--json", json})),
                 0, {"4 ranks on 2 nodes"});
  const Json report = Json::parse(read_text(json), nullptr, false);
  EXPECT_EQ(report.at("nodes"), 2);
  std::map<int64_t, std::map<std::string, Json>> rates;
  for (const Json& rate : report.at("rates"))
    rates[rate.at("top_k").get<int64_t>()][rate.at("dispatcher").get<std::string>()] = rate;
  ASSERT_EQ(rates.size(), 3u);
  for (const auto& [top_k, by_kind] : rates) {
    SCOPED_TRACE(top_k);
    // One remote node; it is missed if all choices fall among the other 8 of 16 experts.
    double missed = 1;
    for (int64_t k = 0; k < top_k; ++k) missed *= static_cast<double>(8 - k) / static_cast<double>(16 - k);
    const Json& hierarchical = by_kind.at("hierarchical");
    EXPECT_NEAR(hierarchical.at("rows_away_per_token").get<double>(), 1 - missed, 0.03);
    EXPECT_NEAR(by_kind.at("alltoall").at("rows_away_per_token").get<double>(), static_cast<double>(top_k) / 2, 0.1);
    EXPECT_EQ(by_kind.at("allgather").at("rows_away_per_token"), 2);
    for (const auto& [kind, rate] : by_kind) {
      const double bytes = rate.at("link_bytes"), payload = rate.at("payload_bytes");
      EXPECT_NEAR(bytes / payload, 1, 0.02) << kind;
    }
    EXPECT_LT(hierarchical.at("link_bytes"), by_kind.at("alltoall").at("link_bytes"));
  }
}

TEST_F(TwoNodes, ADelayIsThatOfEveryLink) {
  std::string reason;
  const std::vector<std::string> lines = links({"--delay", "50ms", "--rate", "100mbit"}, reason);
  if (!reason.empty()) GTEST_SKIP() << reason;
  EXPECT_THAT(lines, testing::SizeIs(2));
  EXPECT_THAT(lines, testing::Each(testing::AllOf(testing::HasSubstr("netem"), testing::HasSubstr("delay 50ms"),
                                                  testing::HasSubstr("rate 100Mbit"))));
}

TEST_F(TwoNodes, ARateIsThatOfEveryLink) {
  std::string reason;
  const std::vector<std::string> lines = links({"--rate", "100mbit"}, reason);
  if (!reason.empty()) GTEST_SKIP() << reason;
  EXPECT_THAT(lines, testing::SizeIs(2));
  EXPECT_THAT(lines, testing::Each(testing::AllOf(testing::HasSubstr("tbf"), testing::HasSubstr("rate 100Mbit"))));
}

TEST_F(TwoNodes, TrainLikeOneRank) {
  const Command f64{"train.dtype=f64", "train.steps=5"};
  const std::string one = scratch_.path("one"), nodes = scratch_.path("nodes");
  must_train({"equivalence", 1, f64}, one);
  const Train four{"equivalence", 1, f64 + Command{"parallel.expert=4"}};
  expect_outcome(run(on_two_nodes(four.command(nodes))), 0, {"dispatch   hierarchical", "alltoall inside"});
  EXPECT_LE(largest_difference(metrics_of(nodes), metrics_of(one), "loss"), 1e-12);
  EXPECT_LE(largest_difference(metrics_of(nodes), metrics_of(one), "grad_norm"), 1e-10);
}

// The groups are the nodes that mpirun found, and then those of a config that names them.
TEST_F(TwoNodes, AreTheGroupsThatAreTiedToThem) {
  const Command f64{"train.dtype=f64", "train.steps=5"};
  const std::string one = scratch_.path("one"), nodes = scratch_.path("nodes");
  const auto groups = [](const std::string& words) {
    return Command{"model.moe.router.groups={keep: 1, score: top2_sum, " + words + "}"};
  };
  must_train({"equivalence", 1, f64 + groups("count: 2")}, one);
  const Train tied{"equivalence", 1, f64 + Command{"parallel.expert=4"} + groups("count: 0, tie_to: node")};
  expect_outcome(run(on_two_nodes(tied.command(nodes))), 0, {"dispatch   hierarchical"});
  EXPECT_NE(read_text(nodes + "/config.yaml").find("count: 2 "), std::string::npos);
  EXPECT_LE(largest_difference(metrics_of(nodes), metrics_of(one), "loss"), 1e-12);
  for (const Json& record : metrics_of(nodes))
    for (const char* layer : {"1", "2"}) {
      EXPECT_EQ(record.at(fmt::format("routing/{}/nodes_per_token_max", layer)), 1);
      EXPECT_GT(record.at(fmt::format("routing/{}/ranks_per_token_mean", layer)), 1);
    }
}

TEST_F(TwoNodes, RefuseGroupsThatAreNotTheirsWithBothMaps) {
  struct Groups {
    std::string words;
    std::vector<std::string> message;
  };
  const std::vector<std::string> machine{"rank 0 on node 0: experts 0-1", "rank 1 on node 0: experts 2-3",
                                         "rank 2 on node 1: experts 4-5", "rank 3 on node 1: experts 6-7"};
  for (auto [words, message] :
       {Groups{"count: 1, keep: 1", {"a group lies on several nodes", "group 0: experts 0-7"}},
        Groups{"count: 4, keep: 2", {"a node holds several groups", "group 0: experts 0-1", "group 3: experts 6-7"}}}) {
    SCOPED_TRACE(words);
    const Train tied{"equivalence", 1, {"parallel.expert=4", "model.moe.router.groups={" + words + ", tie_to: node}"}};
    const Outcome outcome = run(on_two_nodes(tied.command(scratch_.path("run"))));
    message.insert(message.end(), machine.begin(), machine.end());
    expect_outcome(outcome, 64, message);
    expect_one_message(outcome);
  }
}

}  // namespace
}  // namespace switchyard::test
