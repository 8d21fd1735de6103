// Every dispatcher against the local one on all tokens.      T tokens, D width, E experts, K choices, R rows
#include "switchyard/moe/dispatcher.h"

#include "switchyard/autograd/graph.h"
#include "switchyard/ops/elementwise.h"
#include "switchyard/ops/linear.h"
#include "switchyard/ops/router.h"
#include "tests/support/compare.h"
#include "tests/support/ranks.h"

#include <gmock/gmock.h>

#include <mutex>
#include <numeric>

namespace switchyard::moe {
namespace {

using parallel::DispatcherKind;
using test::max_error;
using test::random_tensor;

struct Row {
  std::vector<int64_t> tokens;  // of each rank
  int64_t E, K;
  double skew;  // added to expert 1's logits
  const char* why;
  int64_t sharers = 1;  // ranks one after the other that share their experts by columns

  auto ranks() const { return static_cast<int64_t>(tokens.size()); }
  int64_t holders() const { return ranks() / sharers; }  // that the experts are split over
};
const std::vector<Row> kRows{
    {{5, 5}, 8, 3, 0, "even"},
    {{4, 7}, 2, 1, 0, "one expert on each rank"},
    {{0, 6}, 8, 3, 0, "no token on a rank"},
    {{0, 0}, 4, 2, 0, "no token at all"},
    {{1, 0}, 4, 4, 0, "one token for every expert"},
    {{6, 3}, 8, 2, 50, "one expert takes all"},
    {{5, 0, 7, 3}, 8, 3, 0, "four ranks"},
    {{2, 2, 2, 2}, 4, 1, 50, "three ranks without rows"},
    {{9, 1, 0, 0}, 4, 2, 0, "two experts, most tokens on one rank"},
    {{3, 0, 4, 2, 1, 1, 6, 2}, 16, 5, 0, "eight ranks"},
    {{3, 5, 0, 4}, 8, 6, 0, "more choices on a node than ranks"},
    {{5, 3}, 4, 2, 0, "two ranks share all experts", 2},
    {{5, 0, 7, 3}, 8, 3, 0, "pairs share experts", 2},
    {{2, 0, 0, 0}, 2, 1, 50, "pairs, one of them without rows", 2},
};
// Kinds and ranks of a node; 0: one node.
const std::vector<std::pair<DispatcherKind, int>> kKinds{{DispatcherKind::alltoall, 0},
                                                         {DispatcherKind::allgather, 0},
                                                         {DispatcherKind::hierarchical, 1},
                                                         {DispatcherKind::hierarchical, 2}};

bool fits(const Row& row, int ranks_per_node) {
  const int64_t holders_on_a_node = std::max<int64_t>(ranks_per_node / row.sharers, 1);
  return ranks_per_node == 0 || (row.holders() > holders_on_a_node && row.ranks() % ranks_per_node == 0);
}
constexpr int64_t kWidth = 6;

struct Tokens {
  Tensor x_TD, dy_TD;
  Routing routing;
};

// Tokens [begin, end) of the global batch.
Tokens tokens_of(const Row& row, int64_t begin, int64_t end, DType dtype) {
  const int64_t T = std::accumulate(row.tokens.begin(), row.tokens.end(), int64_t{0});
  const DType scores = accumulate_type(dtype);
  Tensor logits = random_tensor({T, row.E}, scores, "logits");
  Tensor bonus = logits.slice(1, 1, 2);
  auto values = bonus.to_vector<double>();
  for (double& value : values) value += row.skew;
  bonus.copy_from(Tensor::of(values, {T, 1}).to(scores));
  Routing routing{};
  routing.logits_TE = logits.slice(0, begin, end);
  routing.ids_TK = ops::select_experts(routing.logits_TE, row.K).ids_TK;
  routing.probs_TK = ops::router_weights(routing.logits_TE, routing.ids_TK, {});
  return {random_tensor({T, kWidth}, dtype, "x").slice(0, begin, end),
          random_tensor({T, kWidth}, dtype, "dy").slice(0, begin, end), routing};
}

int64_t sharers_in(const comm::World& world, const Row& row) { return world.size() == 1 ? 1 : row.sharers; }

std::unique_ptr<Dispatcher> test_dispatcher(DispatcherKind kind, comm::World& world, const Row& row) {
  const int64_t sharers = sharers_in(world, row);
  const parallel::Mesh mesh({.expert = world.size() / sharers, .expert_tensor = sharers}, world);
  return make_dispatcher(kind, mesh, row.E, row.K);
}

// What the ranks give, in global order.
struct Outcome {
  std::vector<double> y, dx, dprobs, dw;
};

// Dispatch, one matrix per expert, a gate by the row's weight, combine; forward and backward. Ranks that share
// an expert have some columns of its matrix each, the others are zero: what they compute adds up.
void add_outcome(const Row& row, comm::World& world, DispatcherKind kind, int64_t first_token, int64_t num_tokens,
                 DType dtype, Outcome& sum) {
  Tokens t = tokens_of(row, first_token, first_token + num_tokens, dtype);
  const int64_t sharers = sharers_in(world, row), experts = row.E * sharers / world.size(),
                first = world.rank() / sharers * experts, columns = kWidth / sharers,
                column = world.rank() % sharers * columns;
  Tensor w = Tensor::zeros({experts, kWidth, kWidth}, dtype);
  w.slice(2, column, column + columns)
      .copy_from(random_tensor({row.E, kWidth, kWidth}, dtype, "w")
                     .slice(0, first, first + experts)
                     .slice(2, column, column + columns));
  Tensor x = t.x_TD.clone();
  const auto dx = autograd::make_leaf(x), dprobs = autograd::make_leaf(t.routing.probs_TK), dw = autograd::make_leaf(w);

  const auto dispatcher = test_dispatcher(kind, world, row);
  const Dispatch d = dispatcher->finish_dispatch(dispatcher->start_dispatch(x, t.routing));
  const Tensor h = ops::sigmoid_gate(ops::grouped_linear(d.rows_RD, w, d.plan->offsets), d.weights_R);
  const Tensor y = dispatcher->finish_combine(dispatcher->start_combine(h, *d.plan), *d.plan);
  ASSERT_EQ(y.shape(), x.shape());
  const Dispatch again = dispatcher->finish_dispatch(dispatcher->start_again(x, t.routing.probs_TK, d.plan));
  EXPECT_TRUE(test::same_bits(again.rows_RD.detach(), d.rows_RD.detach()));
  EXPECT_TRUE(test::same_bits(again.weights_R.detach(), d.weights_R.detach()));
  EXPECT_EQ(again.plan, d.plan);
  autograd::backward({y}, {t.dy_TD.contiguous()});

  auto put = [](std::vector<double>& whole, const Tensor& part, int64_t at) {
    const auto values = part.to_vector<double>();
    if (whole.size() < values.size() + static_cast<size_t>(at)) whole.resize(values.size() + static_cast<size_t>(at));
    std::copy(values.begin(), values.end(), whole.begin() + at);
  };
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  put(sum.y, y, first_token * kWidth);
  put(sum.dx, dx->grad, first_token * kWidth);
  put(sum.dprobs, dprobs->grad, first_token * row.K);
  sum.dw.resize(static_cast<size_t>(row.E * kWidth * kWidth));
  const auto own_dw = dw->grad.to_vector<double>();
  for (size_t i = 0; i < own_dw.size(); ++i)
    if (static_cast<int64_t>(i) % kWidth / columns == column / columns)
      sum.dw[i + static_cast<size_t>(first * kWidth * kWidth)] = own_dw[i];
}

Outcome outcome_of(const Row& row, DispatcherKind kind, DType dtype, int ranks_per_node = 0) {
  Outcome sum;
  test::run_ranks(static_cast<int>(row.tokens.size()), [&](comm::World& world) {
    world.set_ranks_per_node(ranks_per_node);
    const auto own = row.tokens.begin() + world.rank();
    add_outcome(row, world, kind, std::accumulate(row.tokens.begin(), own, int64_t{0}), *own, dtype, sum);
  });
  return sum;
}

Outcome local_outcome(const Row& row, DType dtype) {
  Outcome sum;
  const int64_t T = std::accumulate(row.tokens.begin(), row.tokens.end(), int64_t{0});
  auto world = comm::World::self();
  add_outcome(row, world, DispatcherKind::local, 0, T, dtype, sum);
  return sum;
}

TEST(Dispatcher, EveryKindGivesWhatTheLocalOneGives) {
  for (const auto& [kind, ranks_per_node] : kKinds) {
    for (const Row& row : kRows) {
      if (!fits(row, ranks_per_node)) continue;
      for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
        SCOPED_TRACE(fmt::format("{} {}, {}, {}", config::name(kind), ranks_per_node, row.why, name_of(dtype)));
        const Outcome got = outcome_of(row, kind, dtype, ranks_per_node), expected = local_outcome(row, dtype);
        const double bound = test::tolerance(dtype, 10) * (dtype == DType::bf16 ? 2 : 1);
        EXPECT_LE(max_error(got.y, expected.y), bound);
        EXPECT_LE(max_error(got.dx, expected.dx), bound);
        EXPECT_LE(max_error(got.dprobs, expected.dprobs), bound);
        EXPECT_LE(max_error(got.dw, expected.dw), bound);
      }
    }
  }
}

TEST(Dispatcher, RunsAreBitIdentical) {
  for (const auto& [kind, ranks_per_node] : kKinds)
    for (const Row& row : {Row{{5, 0, 7, 3}, 8, 3, 0, "four ranks"}, Row{{5, 0, 7, 3}, 8, 3, 0, "pairs", 2}}) {
      SCOPED_TRACE(fmt::format("{} {}, {}", config::name(kind), ranks_per_node, row.why));
      const Outcome a = outcome_of(row, kind, DType::f32, ranks_per_node),
                    b = outcome_of(row, kind, DType::f32, ranks_per_node);
      EXPECT_EQ(a.y, b.y);
      EXPECT_EQ(a.dx, b.dx);
      EXPECT_EQ(a.dprobs, b.dprobs);
      EXPECT_EQ(a.dw, b.dw);
    }
}

TEST(Dispatcher, AllToAllOnOneRankIsTheLocalOneToTheBit) {
  const Row row{{11}, 8, 3, 0, ""};
  const Outcome got = outcome_of(row, DispatcherKind::alltoall, DType::f32), expected = local_outcome(row, DType::f32);
  EXPECT_EQ(got.y, expected.y);
  EXPECT_EQ(got.dx, expected.dx);
  EXPECT_EQ(got.dw, expected.dw);
}

// Rank of each token.
std::vector<int64_t> sources_of(const Row& row) {
  std::vector<int64_t> sources;
  for (int64_t rank = 0; rank < row.ranks(); ++rank)
    sources.insert(sources.end(), static_cast<size_t>(row.tokens[static_cast<size_t>(rank)]), rank);
  return sources;
}

// Rows carry (global token, weight), so their order can be read off. Of the sources of sharers, those come first that
// bring theirs to the first sharer.
TEST(Dispatcher, RowsStandByExpertThenSourceThenToken) {
  for (const DispatcherKind kind : {DispatcherKind::alltoall, DispatcherKind::allgather, DispatcherKind::local}) {
    for (const Row& row : kRows) {
      if (kind == DispatcherKind::local && row.holders() > 1) continue;
      const int64_t T = std::accumulate(row.tokens.begin(), row.tokens.end(), int64_t{0});
      const Routing all = tokens_of(row, 0, T, DType::f32).routing;
      const auto ids = all.ids_TK.to_vector<int64_t>();
      const auto probs = all.probs_TK.to_vector<float>();
      const std::vector<int64_t> sources = sources_of(row);
      test::run_ranks(static_cast<int>(row.tokens.size()), [&](comm::World& world) {
        const auto own = row.tokens.begin() + world.rank();
        const int64_t first_token = std::accumulate(row.tokens.begin(), own, int64_t{0});
        std::vector<float> names(static_cast<size_t>(*own));
        std::iota(names.begin(), names.end(), static_cast<float>(first_token));
        const auto dispatcher = test_dispatcher(kind, world, row);
        const Dispatch d = dispatcher->finish_dispatch(dispatcher->start_dispatch(
            Tensor::of(names, {*own, 1}), tokens_of(row, first_token, first_token + *own, DType::f32).routing));

        std::vector<float> tokens, weights;
        std::vector<int64_t> offsets{0};
        const int64_t experts = row.E / row.holders(), first = world.rank() / row.sharers * experts;
        for (int64_t e = first; e < first + experts; ++e) {
          for (int64_t sharer = 0; sharer < row.sharers; ++sharer)
            for (size_t i = 0; i < ids.size(); ++i) {
              const size_t token = i / static_cast<size_t>(row.K);
              if (ids[i] != e || sources[token] % row.sharers != sharer) continue;
              tokens.push_back(static_cast<float>(token));
              weights.push_back(probs[i]);
            }
          offsets.push_back(static_cast<int64_t>(tokens.size()));
        }
        EXPECT_EQ(d.rows_RD.to_vector<float>(), tokens) << row.why;
        EXPECT_EQ(d.weights_R.to_vector<float>(), weights) << row.why;
        EXPECT_EQ(d.plan->offsets, offsets) << row.why;
      });
    }
  }
}

TEST(Dispatcher, CombineUndoesDispatch) {
  for (const auto& entry : kKinds) {
    const DispatcherKind kind = entry.first;
    for (const Row& row : kRows) {
      if (!fits(row, entry.second)) continue;
      test::run_ranks(static_cast<int>(row.tokens.size()), [&](comm::World& world) {
        world.set_ranks_per_node(entry.second);
        const auto own = row.tokens.begin() + world.rank();
        const int64_t begin = std::accumulate(row.tokens.begin(), own, int64_t{0});
        const Tokens t = tokens_of(row, begin, begin + *own, DType::f64);
        const auto dispatcher = test_dispatcher(kind, world, row);
        const Dispatch d = dispatcher->finish_dispatch(dispatcher->start_dispatch(t.x_TD, t.routing));
        const Tensor y = dispatcher->finish_combine(dispatcher->start_combine(d.rows_RD, *d.plan), *d.plan);
        auto expected = t.x_TD.to_vector<double>();
        for (double& value : expected) value *= static_cast<double>(row.K * row.sharers);  // each gives a copy back
        EXPECT_LE(max_error(y, expected), 1e-15) << row.why;
      });
    }
  }
}

TEST(Dispatcher, ImpossibleOnesAreRefusedWithBothNumbers) {
  test::run_ranks(2, [](comm::World& world) {
    for (const auto& [kind, experts, text] :
         {std::tuple{DispatcherKind::local, 4, "split over 2 ranks"},
          std::tuple{DispatcherKind::alltoall, 5, "5 experts cannot be split over 2"}}) {
      try {
        make_dispatcher(kind, parallel::Mesh({.expert = 2}, world), experts, 1);
        ADD_FAILURE() << "accepted " << text;
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ExitCode::internal);
        EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
      }
    }
  });
}

// A token with choices on two nodes: one row crosses, whatever number of experts it has there.
TEST(Dispatcher, HierarchicalSendsATokenToANodeOnce) {
  test::run_ranks(4, [&](comm::World& world) {
    world.set_ranks_per_node(2);
    const parallel::Mesh mesh({.expert = 4}, world);
    ASSERT_TRUE(mesh.expert_nodes());
    const auto dispatcher = make_dispatcher(DispatcherKind::hierarchical, mesh, 8, 4);
    Routing routing{};
    // Experts 0 to 3 are on node 0. Three choices there and one on node 1; then four on node 1.
    routing.ids_TK = Tensor::of(std::vector<int32_t>{0, 1, 3, 6, 4, 5, 6, 7}, {2, 4});
    routing.probs_TK = Tensor::full({2, 4}, DType::f32, 0.25);
    auto flight = dispatcher->start_dispatch(random_tensor({2, kWidth}, DType::f32, "x"), routing);
    EXPECT_EQ(flight.plan->send, (std::vector<int64_t>{1, 2}));
    EXPECT_EQ(flight.plan->recv,
              (mesh.expert_nodes()->across.rank() == 0 ? std::vector<int64_t>{1, 1} : std::vector<int64_t>{2, 2}));
    const Dispatch d = dispatcher->finish_dispatch(std::move(flight));
    const Tensor y = dispatcher->finish_combine(dispatcher->start_combine(d.rows_RD, *d.plan), *d.plan);
    EXPECT_EQ(y.shape(), (Shape{2, kWidth}));
  });
}

TEST(Dispatcher, AutomaticIsWhatSendsFewestRows) {
  const auto chosen = [](int ranks, int ranks_per_node, int64_t E, int64_t K) {
    DispatcherKind kind = DispatcherKind::automatic;
    test::run_ranks(ranks, [&](comm::World& world) {
      world.set_ranks_per_node(ranks_per_node);
      const DispatcherChoice choice = choose_dispatcher(parallel::Mesh({.expert = ranks}, world), E, K);
      EXPECT_FALSE(choice.reason.empty());
      if (world.rank() == 0) kind = choice.kind;
    });
    return kind;
  };
  EXPECT_EQ(chosen(1, 0, 8, 2), DispatcherKind::local);
  EXPECT_EQ(chosen(2, 0, 8, 2), DispatcherKind::alltoall);   // 1 row leaves, as with allgather
  EXPECT_EQ(chosen(2, 0, 8, 3), DispatcherKind::allgather);  // 1.5 against 1
  EXPECT_EQ(chosen(4, 2, 8, 1), DispatcherKind::alltoall);   // nothing to save
  // Two of eight choices on the same of two nodes: 2 (1 - (4/8)(3/7)) = 11/7 nodes, half of them away, against 1 row.
  EXPECT_EQ(chosen(4, 2, 8, 2), DispatcherKind::hierarchical);
}

// A row that reaches one of two nodes has K / (2 (1 - C(4, K) / C(8, K))) choices there: 1.27 for 2, 2.03 for 4.
TEST(Dispatcher, HierarchicalFansOutByTheFewestRows) {
  test::run_ranks(4, [&](comm::World& world) {
    world.set_ranks_per_node(2);
    const parallel::Mesh mesh({.expert = 4}, world);
    EXPECT_THAT(choose_dispatcher(mesh, 8, 2).reason, testing::EndsWith("; alltoall inside"));
    EXPECT_THAT(choose_dispatcher(mesh, 8, 4).reason, testing::EndsWith("; allgather inside"));
  });
}

TEST(Dispatcher, HierarchicalIsRefusedOnOneNode) {
  const std::string failure = test::first_failure_of_ranks(2, [&](comm::World& world) {
    make_dispatcher(DispatcherKind::hierarchical, parallel::Mesh({.expert = 2}, world), 4, 2);
  });
  EXPECT_THAT(failure, testing::HasSubstr("ranks 0 1 are on nodes 0 0"));
}

}  // namespace
}  // namespace switchyard::moe
