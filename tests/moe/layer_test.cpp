// The whole layer: against plain loops, against finite differences, in every layout, recomputed.
//   T tokens, D width, E experts, K choices, F intermediate width
#include "tests/moe/layer_support.h"

#include "tests/support/gradcheck.h"

#include <algorithm>
#include <numeric>

namespace switchyard::moe {
namespace {

using parallel::DispatcherKind;
using test::busy_config;
using test::LayerCase;
using test::max_error;
using test::random_tensor;
using test::run_step;
using test::TrainedLayer;

struct Weights {
  std::map<std::string, std::vector<double>> by_name;
  double at(const std::string& name, int64_t index) const { return by_name.at(name).at(static_cast<size_t>(index)); }
};

Weights weights_of(const nn::Parameters& parameters) {
  Weights weights;
  for (const nn::Parameter* p : parameters) weights.by_name[p->name] = p->value.to_vector<double>();
  return weights;
}

double silu(double x) { return x / (1 + std::exp(-x)); }

// w_down (silu(w_gate x) * (w_up x)) with matrices that start at element `in` and `down` of their parameters.
std::vector<double> plain_ffn(const Weights& w, const std::string& name, int64_t in, int64_t down, int64_t D, int64_t F,
                              const std::vector<double>& x) {
  std::vector<double> y(static_cast<size_t>(D));
  for (int64_t f = 0; f < F; ++f) {
    double gate = 0, up = 0;
    for (int64_t d = 0; d < D; ++d) {
      gate += w.at(name + ".gate_up", in + f * D + d) * x[static_cast<size_t>(d)];
      up += w.at(name + ".gate_up", in + (F + f) * D + d) * x[static_cast<size_t>(d)];
    }
    for (int64_t d = 0; d < D; ++d)
      y[static_cast<size_t>(d)] += w.at(name + ".down", down + d * F + f) * silu(gate) * up;
  }
  return y;
}

// One token through the layer, as the definition has it.
std::vector<double> plain_layer(const MoeConfig& c, const Weights& w, const std::vector<double>& x) {
  const auto D = static_cast<int64_t>(x.size()), F = c.intermediate_size;
  std::vector<std::pair<double, int64_t>> scores;  // (-exp z, expert): sorted, the largest comes first
  double sum = 0, gate = 0;
  for (int64_t e = 0; e < c.num_experts; ++e) {
    double z = 0;
    for (int64_t d = 0; d < D; ++d) z += w.at("moe.router.weight", e * D + d) * x[static_cast<size_t>(d)];
    scores.emplace_back(-std::exp(z), e);
  }
  std::sort(scores.begin(), scores.end());
  scores.resize(static_cast<size_t>(c.top_k));
  for (const auto& [minus_score, e] : scores) sum -= minus_score;
  for (int64_t d = 0; d < D; ++d) gate += w.at("moe.shared_gate.weight", d) * x[static_cast<size_t>(d)];
  std::vector<double> y = plain_ffn(w, "moe.shared", 0, 0, D, c.shared.width(), x);
  for (double& value : y) value /= 1 + std::exp(-gate);
  for (const auto& [minus_score, e] : scores) {
    const auto h = plain_ffn(w, "moe.experts", e * 2 * F * D, e * D * F, D, F, x);
    for (size_t d = 0; d < y.size(); ++d) y[d] += c.router.scale * -minus_score / sum * h[d];
  }
  return y;
}

TEST(MoeLayer, MatchesItsDefinition) {
  comm::World world = comm::World::self();
  for (const DType dtype : {DType::f64, DType::f32}) {
    TrainedLayer trained(world, {}, busy_config(), 5, dtype);
    const Weights weights = weights_of(trained.parameters);
    const Tensor x_TD = random_tensor({17, 5}, dtype, "x");
    const auto x = x_TD.to_vector<double>();
    std::vector<double> expected;
    for (auto row = x.begin(); row != x.end(); row += 5) {
      const auto y = plain_layer(busy_config(), weights, {row, row + 5});
      expected.insert(expected.end(), y.begin(), y.end());
    }
    Losses none;
    EXPECT_LE(max_error(trained.forward(x_TD, none), expected), test::tolerance(dtype, 100));
    EXPECT_TRUE(none.terms().empty());  // not in a step
  }
}

// The selection is a constant: differences are small against the margin between experts.
TEST(MoeLayer, GradientMatchesFiniteDifferencesInEveryInputAndWeight) {
  comm::World world = comm::World::self();
  for (const ops::Activation activation : {ops::Activation::swiglu, ops::Activation::gelu}) {
    MoeConfig config = busy_config();
    config.activation = activation;
    TrainedLayer trained(world, {}, config, 4);
    Tensors inputs{random_tensor({6, 4}, DType::f64, "x")};
    for (const nn::Parameter* p : trained.parameters) inputs.push_back(p->value.detach());
    test::check_gradients(
        [&](const Tensors& in) {
          for (size_t i = 0; i < trained.parameters.size(); ++i) trained.parameters[i]->value = in[i + 1];
          Losses losses;
          return trained.forward(in[0], losses);
        },
        inputs);
  }
}

TEST(MoeLayer, EveryExpertChosenEqualsDense) {
  MoeConfig config = busy_config();
  config.top_k = config.num_experts;
  comm::World world = comm::World::self();
  TrainedLayer trained(world, {}, config, 5);
  const auto y =
      plain_layer(config, weights_of(trained.parameters), random_tensor({1, 5}, DType::f64, "x").to_vector<double>());
  Losses none;
  EXPECT_LE(max_error(trained.forward(random_tensor({1, 5}, DType::f64, "x"), none), y), 1e-14);
}

TEST(MoeLayer, OneExpertIsAnFfnTimesTheScale) {
  MoeConfig config = busy_config();
  config.num_experts = config.top_k = 1;
  config.shared.num_experts = 0;
  comm::World world = comm::World::self();
  TrainedLayer trained(world, {}, config, 5);
  const Tensor x = random_tensor({1, 5}, DType::f64, "x");
  auto y = plain_ffn(weights_of(trained.parameters), "moe.experts", 0, 0, 5, config.intermediate_size,
                     x.to_vector<double>());
  for (double& value : y) value *= config.router.scale;
  Losses none;
  EXPECT_LE(max_error(trained.forward(x, none), y), 1e-14);
}

TEST(MoeLayer, RenumberingExpertsChangesNothing) {
  comm::World world = comm::World::self();
  TrainedLayer plain(world, {}, busy_config(), 5), renumbered(world, {}, busy_config(), 5);
  const int64_t E = busy_config().num_experts;
  for (nn::Parameter* p : renumbered.parameters) {
    if (p->global_shape[0] != E) continue;  // router and experts
    const auto values = p->value.to_vector<double>();
    auto moved = values;
    const auto inner = static_cast<long>(values.size()) / E;
    for (long e = 0; e < E; ++e)
      std::copy_n(values.begin() + e * inner, inner, moved.begin() + (e * 3 + 1) % E * inner);
    p->value = Tensor::of(moved, p->value.shape());
  }
  const Tensor x = random_tensor({20, 5}, DType::f64, "x");
  Losses none;
  EXPECT_LE(max_error(renumbered.forward(x, none), plain.forward(x, none)), 1e-14);
}

struct LayoutRow {
  int ranks;
  int64_t expert;
  DispatcherKind dispatcher;
};

TEST(MoeLayer, EveryLayoutGivesTheStepOfOneRank) {
  const std::vector<LayoutRow> rows{
      {1, 1, DispatcherKind::alltoall},  {1, 1, DispatcherKind::allgather}, {2, 1, DispatcherKind::local},
      {2, 2, DispatcherKind::alltoall},  {2, 2, DispatcherKind::allgather}, {4, 2, DispatcherKind::alltoall},
      {4, 2, DispatcherKind::allgather}, {4, 4, DispatcherKind::alltoall},  {4, 4, DispatcherKind::allgather},
  };
  for (const RouterScore score : {RouterScore::softmax, RouterScore::sigmoid}) {
    LayerCase c{.config = busy_config()};
    c.config.router.score = score;
    const auto one = run_step(c, 1, 1, DispatcherKind::local);
    EXPECT_EQ(std::accumulate(one.counts_E.begin(), one.counts_E.end(), int64_t{0}), 24 * 3);
    for (const auto& row : rows) {
      SCOPED_TRACE(
          fmt::format("{} ranks, expert {}, dispatcher {}", row.ranks, row.expert, config::name(row.dispatcher)));
      test::expect_equal(run_step(c, row.ranks, row.expert, row.dispatcher), one, 1e-12);
    }
  }
}

TEST(MoeLayer, RecomputeChangesNothingAndCountsOnce) {
  for (const int ranks : {1, 2, 4}) {
    const LayerCase plain{.config = busy_config()};
    LayerCase again = plain;
    again.recompute = true;
    test::expect_equal(run_step(again, ranks, ranks, DispatcherKind::automatic),
                       run_step(plain, ranks, ranks, DispatcherKind::automatic), 1e-15);
  }
}

TEST(MoeLayer, EvaluationNeitherCountsNorAddsLosses) {
  comm::World world = comm::World::self();
  TrainedLayer trained(world, {}, busy_config(), 5);
  trained.layer.begin_step({4, 1, 1});
  trained.layer.end_step();
  Losses losses;
  trained.forward(random_tensor({4, 5}, DType::f64, "x"), losses);
  EXPECT_TRUE(losses.terms().empty());
  EXPECT_EQ(trained.layer.stats().counts_E, std::vector<int64_t>(8, 0));
}

TEST(MoeLayer, ExpertWithoutTokensHasAGradientOfExactlyZero) {
  MoeConfig config = busy_config();
  config.top_k = 1;
  config.num_experts = 4;
  config.router.normalize = false;
  const LayerCase c{.config = config, .sequence_rows = 1, .num_sequences = 2, .micro_batch = 1};
  for (const int ranks : {1, 2}) {
    const auto step = run_step(c, ranks, ranks, DispatcherKind::automatic);
    int64_t empty = 0;
    for (size_t e = 0; e < 4; ++e) {
      if (step.counts_E[e] > 0) continue;
      ++empty;
      const auto& dw = step.dweights.at("moe.experts.down");
      const auto inner = static_cast<long>(dw.size()) / 4, begin = static_cast<long>(e) * inner;
      EXPECT_TRUE(std::all_of(dw.begin() + begin, dw.begin() + begin + inner, [](double g) { return g == 0; }));
    }
    EXPECT_GE(empty, 2);
  }
}

TEST(MoeLayer, LogitThatIsNotFiniteMakesTheOutputNan) {
  comm::World world = comm::World::self();
  TrainedLayer trained(world, {}, busy_config(), 5);
  trained.parameters[0]->value.data<double>()[3 * 5] = std::nan("");  // the router's row of expert 3
  Losses none;
  for (const double y : trained.forward(random_tensor({4, 5}, DType::f64, "x"), none).to_vector<double>())
    EXPECT_TRUE(std::isnan(y));
}

}  // namespace
}  // namespace switchyard::moe
