// Every dispatcher against the local one on all tokens.      T tokens, D width, E experts, K choices, R rows
#include "switchyard/moe/dispatcher.h"

#include "switchyard/autograd/graph.h"
#include "switchyard/ops/elementwise.h"
#include "switchyard/ops/linear.h"
#include "switchyard/ops/router.h"
#include "tests/support/compare.h"
#include "tests/support/ranks.h"

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
};
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

// What the ranks give, in global order.
struct Outcome {
  std::vector<double> y, dx, dprobs, dw;
};

// Dispatch, one matrix per expert, a gate by the row's weight, combine; forward and backward.
void add_outcome(const Row& row, const comm::Group& group, DispatcherKind kind, int64_t first_token, int64_t num_tokens,
                 DType dtype, Outcome& sum) {
  Tokens t = tokens_of(row, first_token, first_token + num_tokens, dtype);
  const int64_t experts = row.E / group.size(), first = group.rank() * experts;
  Tensor w = random_tensor({row.E, kWidth, kWidth}, dtype, "w").slice(0, first, first + experts).clone();
  Tensor x = t.x_TD.clone();
  const auto dx = autograd::make_leaf(x), dprobs = autograd::make_leaf(t.routing.probs_TK), dw = autograd::make_leaf(w);

  const auto dispatcher = make_dispatcher(kind, group, row.E);
  const Dispatch d = dispatcher->finish_dispatch(dispatcher->start_dispatch(x, t.routing));
  const Tensor h = ops::sigmoid_gate(ops::grouped_linear(d.rows_RD, w, d.plan->offsets), d.weights_R);
  const Tensor y = dispatcher->finish_combine(dispatcher->start_combine(h, *d.plan), *d.plan);
  ASSERT_EQ(y.shape(), x.shape());
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
  put(sum.dw, dw->grad, first * kWidth * kWidth);
}

Outcome outcome_of(const Row& row, DispatcherKind kind, DType dtype) {
  Outcome sum;
  test::run_ranks(static_cast<int>(row.tokens.size()), [&](comm::World& world) {
    const auto own = row.tokens.begin() + world.rank();
    add_outcome(row, world.all(), kind, std::accumulate(row.tokens.begin(), own, int64_t{0}), *own, dtype, sum);
  });
  return sum;
}

Outcome local_outcome(const Row& row, DType dtype) {
  Outcome sum;
  const int64_t T = std::accumulate(row.tokens.begin(), row.tokens.end(), int64_t{0});
  add_outcome(row, comm::Group(), DispatcherKind::local, 0, T, dtype, sum);
  return sum;
}

TEST(Dispatcher, EveryKindGivesWhatTheLocalOneGives) {
  for (const DispatcherKind kind : {DispatcherKind::alltoall, DispatcherKind::allgather}) {
    for (const Row& row : kRows) {
      for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
        SCOPED_TRACE(fmt::format("{}, {}, {}", config::name(kind), row.why, name_of(dtype)));
        const Outcome got = outcome_of(row, kind, dtype), expected = local_outcome(row, dtype);
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
  for (const DispatcherKind kind : {DispatcherKind::alltoall, DispatcherKind::allgather}) {
    const Outcome a = outcome_of(kRows[6], kind, DType::f32), b = outcome_of(kRows[6], kind, DType::f32);
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

// Rows carry (global token, weight), so their order can be read off.
TEST(Dispatcher, RowsStandByExpertThenSourceThenToken) {
  for (const DispatcherKind kind : {DispatcherKind::alltoall, DispatcherKind::allgather, DispatcherKind::local}) {
    for (const Row& row : kRows) {
      if (kind == DispatcherKind::local && row.tokens.size() > 1) continue;
      const int64_t T = std::accumulate(row.tokens.begin(), row.tokens.end(), int64_t{0});
      const Routing all = tokens_of(row, 0, T, DType::f32).routing;
      const auto ids = all.ids_TK.to_vector<int64_t>();
      const auto probs = all.probs_TK.to_vector<float>();
      test::run_ranks(static_cast<int>(row.tokens.size()), [&](comm::World& world) {
        const auto own = row.tokens.begin() + world.rank();
        const int64_t first_token = std::accumulate(row.tokens.begin(), own, int64_t{0});
        std::vector<float> names(static_cast<size_t>(*own));
        std::iota(names.begin(), names.end(), static_cast<float>(first_token));
        const auto dispatcher = make_dispatcher(kind, world.all(), row.E);
        const Dispatch d = dispatcher->finish_dispatch(dispatcher->start_dispatch(
            Tensor::of(names, {*own, 1}), tokens_of(row, first_token, first_token + *own, DType::f32).routing));

        std::vector<float> tokens, weights;
        std::vector<int64_t> offsets{0};
        const int64_t experts = row.E / world.size();
        for (int64_t e = world.rank() * experts; e < (world.rank() + 1) * experts; ++e) {
          for (size_t i = 0; i < ids.size(); ++i) {
            if (ids[i] != e) continue;
            const int64_t token = static_cast<int64_t>(i) / row.K;
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
  for (const DispatcherKind kind : {DispatcherKind::alltoall, DispatcherKind::allgather}) {
    for (const Row& row : kRows) {
      test::run_ranks(static_cast<int>(row.tokens.size()), [&](comm::World& world) {
        const auto own = row.tokens.begin() + world.rank();
        const int64_t begin = std::accumulate(row.tokens.begin(), own, int64_t{0});
        const Tokens t = tokens_of(row, begin, begin + *own, DType::f64);
        const auto dispatcher = make_dispatcher(kind, world.all(), row.E);
        const Dispatch d = dispatcher->finish_dispatch(dispatcher->start_dispatch(t.x_TD, t.routing));
        const Tensor y = dispatcher->finish_combine(dispatcher->start_combine(d.rows_RD, *d.plan), *d.plan);
        auto expected = t.x_TD.to_vector<double>();
        for (double& value : expected) value *= static_cast<double>(row.K);  // a copy for each choice
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
        make_dispatcher(kind, world.all(), experts);
        ADD_FAILURE() << "accepted " << text;
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ExitCode::internal);
        EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
      }
    }
  });
}

}  // namespace
}  // namespace switchyard::moe
