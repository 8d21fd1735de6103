// Several nodes, emulated by network namespaces: what crosses between them are real bytes, counted by the kernel.
#include "tests/support/runs.h"

#include <map>

namespace switchyard::test {
namespace {

constexpr int kUnavailable = 69;  // of the script, where namespaces or a tool are missing

Command on_two_nodes(const Command& command, const Command& link = {}) {
  return Command{source_file("scripts/emulated-nodes.sh")} + link + Command{"2", "mpirun", "-n", "4"} + command;
}

class TwoNodes : public testing::Test {
 protected:
  void SetUp() override {
    const Outcome outcome = run(Command{source_file("scripts/emulated-nodes.sh"), "1", "true"});
    if (outcome.code == kUnavailable) GTEST_SKIP() << outcome.err;
    expect_outcome(outcome, 0, {"node0: "});
  }
  // What each dispatcher moved, and how long it took, over links with these options; none where tc cannot make them.
  std::vector<Json> rates_over(const Command& link, const std::string& tokens) {
    const std::string json = scratch_.path("bench.json");
    const Outcome outcome = run(on_two_nodes({program(), "bench", "dispatch", "--tokens", tokens, "--width", "256",
                                              "--experts", "16", "--top-k", "2", "--repeats", "3", "--json", json},
                                             link));
    if (outcome.code == kUnavailable) {
      reason_ = outcome.err;
      return {};
    }
    expect_outcome(outcome, 0, {"4 ranks on 2 nodes"});
    return Json::parse(read_text(json)).at("rates").get<std::vector<Json>>();
  }
  Scratch scratch_;
  std::string reason_;
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

// Rows travel to their expert and back, and so do gradients: four times through a link, one after the other.
TEST_F(TwoNodes, ADelayIsThatOfEachCrossing) {
  const std::vector<Json> rates = rates_over({"--delay", "50ms"}, "64");
  if (rates.empty()) GTEST_SKIP() << reason_;
  EXPECT_EQ(rates.size(), 3u);
  for (const Json& rate : rates) EXPECT_GE(rate.at("seconds").get<double>(), 4 * 0.050) << rate;
}

TEST_F(TwoNodes, ARateIsThatOfALink) {
  const std::vector<Json> rates = rates_over({"--rate", "100mbit"}, "1024");
  if (rates.empty()) GTEST_SKIP() << reason_;
  EXPECT_EQ(rates.size(), 3u);
  const double bytes_per_second = 100e6 / 8, burst = 256 * 1024;  // as scripts/emulated-nodes.sh has it
  for (const Json& rate : rates) {
    const double from_a_node = rate.at("payload_bytes").get<double>() / 2;
    EXPECT_GT(from_a_node, 4 * burst);
    EXPECT_GE(rate.at("seconds").get<double>(), (from_a_node - burst) / bytes_per_second) << rate;
  }
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

}  // namespace
}  // namespace switchyard::test
