// Ranks and nodes of each token's experts, and the bytes of a step, against plain loops on machines that are made up.
//   T tokens, D width, E experts, K choices
#include "switchyard/moe/fan_out.h"

#include "switchyard/ops/router.h"
#include "switchyard/parallel/mesh.h"
#include "tests/moe/layer_support.h"

#include <set>

namespace switchyard::moe {
namespace {

using parallel::DispatcherKind;
using parallel::ParallelConfig;
using Nodes = std::vector<int>;

// Golden G21: the selections of golden G1, three experts on each of four nodes.
TEST(FanOut, GivesThePublishedNumbers) {
  const parallel::Layout layout = parallel::expert_layout({.expert = 4}, 4);
  const ExpertPlaces places(layout, {0, 1, 2, 3}, 0, 12);
  FanOut sum = places.nothing();
  places.add(Tensor::of(std::vector<int32_t>{0, 1, 3, 5, 0, 1, 6, 7}, {2, 4}), sum);
  EXPECT_EQ(sum.sum_nodes, 2 + 2);
  EXPECT_EQ(sum.sum_ranks, 2 + 2);
  EXPECT_EQ(sum.max_nodes, 2);
  EXPECT_EQ(sum.rows_N, (std::vector<int64_t>{4, 2, 2, 0}));
}

struct Row {
  ParallelConfig layout;
  Nodes nodes;
  const char* why;
};
const std::vector<Row> kRows{{{}, {0}, "one rank"},
                             {{}, {0, 1}, "a copy on each of two nodes"},
                             {{.expert = 4}, {0, 0, 1, 1}, "two nodes of two ranks"},
                             {{.expert = 4}, {0, 1, 1, 0}, "nodes that come back"},
                             {{.expert = 2}, {0, 1, 2, 2}, "copies that lie differently"},
                             {{.expert = 2, .expert_tensor = 2}, {0, 0, 1, 1}, "shards on one node"},
                             {{.expert = 2, .expert_tensor = 2}, {0, 1, 1, 2}, "shards on two nodes"}};

TEST(FanOut, MatchesPlainLoops) {
  const int64_t E = 8, K = 3, T = 50;
  const Tensor ids_TK = ops::select_experts(test::random_tensor({T, E}, DType::f32, "logits"), K).ids_TK;
  const auto ids = ids_TK.to_vector<int32_t>();
  for (const Row& row : kRows) {
    const auto layout = parallel::expert_layout(row.layout, std::ssize(row.nodes));
    for (int rank = 0; rank < std::ssize(row.nodes); ++rank) {
      SCOPED_TRACE(fmt::format("{}, rank {}", row.why, rank));
      const ExpertPlaces places(layout, row.nodes, rank, E);
      FanOut got = places.nothing(), expected = places.nothing();
      places.add(ids_TK, got);
      for (int64_t t = 0; t < T; ++t) {
        std::set<int64_t> parts;
        std::set<int> nodes;
        for (int64_t i = 0; i < K; ++i) {
          const int64_t part = ids[static_cast<size_t>(t * K + i)] / (E / row.layout.expert);
          parts.insert(part);
          std::set<int> of_expert;
          for (int other = 0; other < std::ssize(row.nodes); ++other)
            if (layout.coordinate(other, "edp") == layout.coordinate(rank, "edp") &&
                layout.coordinate(other, "ep") == part)
              of_expert.insert(row.nodes[static_cast<size_t>(other)]);
          for (const int node : of_expert) ++expected.rows_N[static_cast<size_t>(node)];
          nodes.merge(of_expert);
        }
        expected.sum_ranks += std::ssize(parts);
        expected.sum_nodes += std::ssize(nodes);
        expected.max_ranks = std::max<int64_t>(expected.max_ranks, std::ssize(parts));
        expected.max_nodes = std::max<int64_t>(expected.max_nodes, std::ssize(nodes));
      }
      EXPECT_EQ(got.sum_ranks, expected.sum_ranks);
      EXPECT_EQ(got.sum_nodes, expected.sum_nodes);
      EXPECT_EQ(got.max_ranks, expected.max_ranks);
      EXPECT_EQ(got.max_nodes, expected.max_nodes);
      EXPECT_EQ(got.rows_N, expected.rows_N);
    }
  }
}

// ---- bytes of a training step of one layer ----

struct Bytes {
  int64_t rank = 0, node = 0, network = 0;
  bool operator==(const Bytes&) const = default;
};
void PrintTo(const Bytes& b, std::ostream* out) { *out << b.rank << ", " << b.node << ", " << b.network; }

// One block of tokens per rank, forward and backward; over all ranks.
Bytes bytes_of_step(const ParallelConfig& layout, int ranks, bool recompute = false) {
  test::LayerCase c{.config = test::busy_config(), .num_sequences = 8, .micro_batch = 8 / ranks};
  c.recompute = recompute;
  Bytes sum;
  std::mutex mutex;
  test::run_ranks(ranks, [&](comm::World& world) {
    world.set_ranks_per_node(ranks == 1 ? 1 : ranks / 2);
    test::TrainedLayer trained(world, layout, c.config, c.width);
    const int64_t rows = c.sequence_rows * c.micro_batch;
    Tensor x_TD = test::random_tensor({24, c.width}, DType::f64, "x")
                      .slice(0, world.rank() * rows, (world.rank() + 1) * rows)
                      .clone();
    const auto leaf = autograd::make_leaf(x_TD);
    trained.layer.begin_step({c.sequence_rows, c.num_sequences, ranks});
    Losses losses;
    const Tensor y = test::run_layer(c, trained, x_TD, losses);
    autograd::backward({y}, {Tensor::full(y.shape(), DType::f64, 1)});
    trained.layer.end_step();
    const comm::Traffic& traffic = trained.layer.traffic();
    const std::lock_guard lock(mutex);
    sum.rank += traffic.rank_bytes, sum.node += traffic.node_bytes, sum.network += traffic.network_bytes;
  });
  return sum;
}

constexpr int64_t kRow = 5 * 8, kWeight = 8, kTokens = 24, kChoices = 3;  // bytes; of the f64 layer above

// A row per choice to the expert's rank with its weight, the result back, and as much backward.
TEST(LayerTraffic, OfAllToAllIsARowPerChoice) {
  const int64_t all = kTokens * kChoices * 2 * (2 * kRow + kWeight);
  EXPECT_EQ(bytes_of_step({.dispatcher = DispatcherKind::local}, 1), (Bytes{all, 0, 0}));
  EXPECT_EQ(bytes_of_step({.dispatcher = DispatcherKind::alltoall}, 1), (Bytes{all, 0, 0}));
  EXPECT_EQ(bytes_of_step({}, 4), (Bytes{all, 0, 0}));
  for (const int64_t expert : {2, 4}) {
    const Bytes bytes = bytes_of_step({.expert = expert, .dispatcher = DispatcherKind::alltoall}, 4);
    EXPECT_EQ(bytes.rank + bytes.node + bytes.network, all);
    EXPECT_GT(bytes.node, 0);
    EXPECT_EQ(bytes.network == 0, expert == 2);  // a copy on each node
  }
}

// By how far the choices of a token are from it: four ranks, two to a node, two experts on each.
class Choices {
 public:
  Choices() {
    comm::World one = comm::World::self();
    test::TrainedLayer trained(one, {}, test::busy_config(), 5);
    const Tensor x = test::random_tensor({kTokens, 5}, DType::f64, "x");
    ids_ = trained.layer.router().forward(x).ids_TK.to_vector<int64_t>();
  }
  int64_t rank_of(int64_t t, int64_t i) const { return ids_[static_cast<size_t>(t * kChoices + i)] / 2; }
  static int64_t home(int64_t t) { return t / 6; }
  static void move(int64_t from, int64_t to, int64_t bytes, Bytes& sum) {
    (from == to ? sum.rank : from / 2 == to / 2 ? sum.node : sum.network) += bytes;
  }

 private:
  std::vector<int64_t> ids_;
};

TEST(LayerTraffic, OfAllToAllFollowsTheChoicesOfEveryToken) {
  const Choices choices;
  Bytes expected;
  for (int64_t t = 0; t < kTokens; ++t)
    for (int64_t i = 0; i < kChoices; ++i)
      Choices::move(Choices::home(t), choices.rank_of(t, i), 2 * (2 * kRow + kWeight), expected);
  EXPECT_EQ(bytes_of_step({.expert = 4, .dispatcher = DispatcherKind::alltoall}, 4), expected);
}

// One row, with all weights, to the rank at the same place of each node that has a choice; from there a row per choice.
TEST(LayerTraffic, OfHierarchicalCrossesToANodeOnce) {
  const Choices choices;
  Bytes expected;
  for (int64_t t = 0; t < kTokens; ++t) {
    std::set<int64_t> reached;
    for (int64_t i = 0; i < kChoices; ++i) {
      const int64_t there = choices.rank_of(t, i) / 2 * 2 + Choices::home(t) % 2;
      if (reached.insert(there).second)
        Choices::move(Choices::home(t), there, 2 * (2 * kRow + kChoices * kWeight), expected);
      Choices::move(there, choices.rank_of(t, i), 2 * (2 * kRow + kWeight), expected);
    }
  }
  EXPECT_EQ(bytes_of_step({.expert = 4, .dispatcher = DispatcherKind::hierarchical}, 4), expected);
}

// Every token to every rank with all its weights, a partial sum of it back from each, and as much backward.
TEST(LayerTraffic, OfAllGatherIsEveryTokenToEveryRank) {
  const int64_t one = kTokens * 2 * (2 * kRow + kChoices * kWeight);
  EXPECT_EQ(bytes_of_step({.expert = 4, .dispatcher = DispatcherKind::allgather}, 4), (Bytes{one, one, 2 * one}));
}

// Rows that have reached one of the ranks that share an expert go to the other, and results are handed back.
TEST(LayerTraffic, OfSharedExpertsIsWhatSharersExchangeToo) {
  const int64_t row_per_choice = kTokens * kChoices * 2 * (2 * kRow + kWeight);
  const Bytes bytes = bytes_of_step({.expert_tensor = 2}, 2);  // on two nodes
  EXPECT_EQ(bytes.rank, 2 * row_per_choice);                   // dispatch to itself, and its own part of the exchange
  EXPECT_EQ(bytes.network, row_per_choice);
}

TEST(LayerTraffic, IsNotCountedTwiceByRecompute) {
  for (const DispatcherKind kind :
       {DispatcherKind::alltoall, DispatcherKind::allgather, DispatcherKind::hierarchical}) {
    const ParallelConfig layout{.expert = 4, .dispatcher = kind};
    EXPECT_EQ(bytes_of_step(layout, 4, true), bytes_of_step(layout, 4));
  }
  EXPECT_EQ(bytes_of_step({}, 4, true), bytes_of_step({}, 4));
}

TEST(LayerTraffic, IsOfStepsAlone) {
  comm::World world = comm::World::self();
  test::TrainedLayer trained(world, {}, test::busy_config(), 5);
  Losses losses;
  const Tensor x = test::random_tensor({4, 5}, DType::f64, "x");
  trained.forward(x, losses);
  EXPECT_EQ(trained.layer.traffic().rank_bytes, 0);
  trained.layer.begin_step({4, 1, 1});
  trained.forward(x, losses);
  EXPECT_GT(trained.layer.traffic().rank_bytes, 0);
  trained.layer.begin_step({4, 1, 1});
  EXPECT_EQ(trained.layer.traffic().rank_bytes, 0);
}

}  // namespace
}  // namespace switchyard::moe
