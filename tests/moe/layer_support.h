// One training step of one MoE layer on a global batch of random tokens, in any layout: what it gives must not depend
// on the layout.      D width, T tokens
#pragma once

#include "switchyard/autograd/graph.h"
#include "switchyard/moe/layer.h"
#include "switchyard/ops/shape.h"
#include "switchyard/parallel/placement.h"
#include "tests/support/compare.h"
#include "tests/support/ranks.h"

#include <map>
#include <mutex>

namespace switchyard::test {

struct LayerCase {
  moe::MoeConfig config;
  int64_t width = 5;
  int64_t sequence_rows = 3, num_sequences = 8, micro_batch = 2;  // rows; sequences of the global batch and of a block
  bool recompute = false;
};

// Top-3 of 8 experts, a gated shared expert, and every kind of balance loss.
inline moe::MoeConfig busy_config() {
  using namespace moe;
  MoeConfig config;
  config.num_experts = 8;
  config.top_k = 3;
  config.intermediate_size = 4;
  config.shared = {.num_experts = 2, .intermediate_size = 3, .gate = SharedGate::sigmoid};
  config.router.scale = 1.5;
  config.balance = {{.scope = BalanceScope::micro_batch, .coefficient = 0.5},
                    {.scope = BalanceScope::sequence, .coefficient = 0.25},
                    {.scope = BalanceScope::global_batch, .coefficient = 0.75},
                    {.kind = BalanceKind::z_loss, .coefficient = 0.125},
                    {.kind = BalanceKind::sequence, .coefficient = 0.375},
                    {.kind = BalanceKind::hf_pooled, .coefficient = 0.625}};
  return config;
}

// A layer whose parameters are filled and differentiated.
class TrainedLayer {
 public:
  TrainedLayer(comm::World& world, const parallel::ParallelConfig& layout, const moe::MoeConfig& config, int64_t width,
               DType dtype = DType::f64)
      : mesh_(layout, world), layer("moe", width, config, {kInit, kInit, kInit}, mesh_, layout.dispatcher) {
    layer.parameters(parameters);
    for (nn::Parameter* p : parameters) {
      boxes.push_back(parallel::local_box(*p, mesh_));
      p->value = Tensor::empty(boxes.back().extent, dtype, Purpose::weights);
      parallel::initialize(*p, {boxes.back(), 0, boxes.back().numel()}, 1, p->value);
      leaves.push_back(autograd::make_leaf(p->value));
    }
  }

  // (T, D): T / rows sequences of `rows` positions, by default one.
  Tensor forward(const Tensor& x_TD, moe::Losses& losses, int64_t rows = 0) {
    if (rows == 0) rows = x_TD.dim(0);
    const Shape shape{rows == 0 ? 1 : x_TD.dim(0) / rows, rows, x_TD.dim(1)};
    return ops::reshape(layer.forward(ops::reshape(x_TD, shape), {mesh_.tensor(), rows}, losses), x_TD.shape());
  }

 private:
  static constexpr nn::Init kInit{nn::InitKind::normal, 0.8};
  parallel::Mesh mesh_;

 public:
  moe::MoeLayer layer;
  nn::Parameters parameters;
  std::vector<Box> boxes;
  std::vector<std::shared_ptr<autograd::Leaf>> leaves;
};

// Sums over ranks, in global order.
struct StepOutcome {
  std::vector<double> y, dx;                            // (T, D) of the global batch
  std::map<std::string, std::vector<double>> dweights;  // by parameter, of the global tensor
  std::vector<double> losses;                           // per loss of the config, without coefficients
  std::vector<int64_t> counts_E;
};

template <class T>
void add_at(std::vector<T>& sum, const std::vector<T>& part, int64_t offset, int64_t total) {
  sum.resize(static_cast<size_t>(total));
  for (size_t i = 0; i < part.size(); ++i) sum[static_cast<size_t>(offset) + i] += part[i];
}

// layer.forward, as a recompute region if the case says so.
inline Tensor run_layer(const LayerCase& c, TrainedLayer& trained, const Tensor& x_TD, moe::Losses& losses) {
  if (!c.recompute) return trained.forward(x_TD, losses, c.sequence_rows);
  const auto names = std::make_shared<moe::Losses>();
  const Tensors out = autograd::recompute(
      [&trained, &c, names](const Tensors& in) {
        moe::Losses inside;
        Tensors results{trained.forward(in.at(0), inside, c.sequence_rows)};
        for (const Tensor& tensor : inside.tensors()) results.push_back(tensor);
        *names = inside.without_tensors();
        return results;
      },
      {x_TD});
  losses.append(names->with({out.begin() + 1, out.end()}));
  return out[0];
}

// One rank's part of a step, added to `sum`. Blocks go to data ranks in turn; the objective is <y, cotangent> plus the
// balance losses times their coefficients.
inline void add_step(const LayerCase& c, comm::World& world, const parallel::ParallelConfig& layout, StepOutcome& sum,
                     std::mutex& mutex) {
  TrainedLayer trained(world, layout, c.config, c.width);
  moe::MoeLayer& layer = trained.layer;
  const int64_t rows = c.sequence_rows * c.micro_batch, total = c.sequence_rows * c.num_sequences;
  const int64_t blocks = c.num_sequences / c.micro_batch;
  const Tensor x = random_tensor({total, c.width}, DType::f64, "x"), dy = random_tensor(x.shape(), DType::f64, "dy");

  layer.begin_step({c.sequence_rows, c.num_sequences, blocks});
  if (blocks > world.size()) {
    const autograd::NoGrad no_grad;
    moe::Losses none;
    layer.begin_count();
    for (int64_t j = world.rank(); j < blocks; j += world.size())
      trained.forward(x.slice(0, j * rows, (j + 1) * rows), none, c.sequence_rows);
    layer.end_count();
    EXPECT_TRUE(none.terms().empty());
  }
  for (int64_t j = world.rank(); j < blocks; j += world.size()) {
    Tensor x_TD = x.slice(0, j * rows, (j + 1) * rows).clone();
    const auto leaf = autograd::make_leaf(x_TD);
    moe::Losses losses;
    Tensors roots{run_layer(c, trained, x_TD, losses)}, douts{dy.slice(0, j * rows, (j + 1) * rows)};
    losses.pool();
    const auto y = roots[0].to_vector<double>();
    std::vector<double> values;
    for (const auto& term : losses.terms()) {
      values.push_back(term.value.item());
      roots.push_back(term.value);
      douts.push_back(Tensor::full({1}, DType::f64, term.coefficient));
    }
    autograd::backward(roots, douts);
    const std::lock_guard lock(mutex);
    add_at(sum.y, y, j * rows * c.width, x.numel());
    add_at(sum.dx, leaf->grad.to_vector<double>(), j * rows * c.width, x.numel());
    add_at(sum.losses, values, 0, static_cast<int64_t>(values.size()));
  }
  layer.end_step();
  const std::lock_guard lock(mutex);
  add_at(sum.counts_E, layer.stats().counts_E, 0, c.config.num_experts);
  for (size_t i = 0; i < trained.parameters.size(); ++i) {
    const nn::Parameter& p = *trained.parameters[i];
    const int64_t inner = numel_of(p.global_shape) / p.global_shape[0];  // only the first dimension is ever split
    add_at(sum.dweights[p.name], trained.leaves[i]->grad.to_vector<double>(), trained.boxes[i].offset[0] * inner,
           numel_of(p.global_shape));
  }
}

inline StepOutcome run_step(const LayerCase& c, int ranks, int64_t expert, parallel::DispatcherKind dispatcher) {
  StepOutcome sum;
  std::mutex mutex;
  parallel::ParallelConfig layout;
  layout.expert = expert;
  layout.dispatcher = dispatcher;
  run_ranks(ranks, [&](comm::World& world) { add_step(c, world, layout, sum, mutex); });
  return sum;
}

inline void expect_equal(const StepOutcome& got, const StepOutcome& expected, double tolerance) {
  EXPECT_EQ(got.counts_E, expected.counts_E);
  EXPECT_LE(max_error(got.y, expected.y), tolerance);
  EXPECT_LE(max_error(got.dx, expected.dx), tolerance);
  EXPECT_LE(max_error(got.losses, expected.losses), tolerance);
  ASSERT_EQ(got.dweights.size(), expected.dweights.size());
  for (const auto& [name, dw] : expected.dweights) EXPECT_LE(max_error(got.dweights.at(name), dw), tolerance) << name;
}

}  // namespace switchyard::test
