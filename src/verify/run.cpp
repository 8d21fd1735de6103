// Session and train_step, with the routers watched.
#include "switchyard/verify/run.h"

#include "switchyard/base/clock.h"
#include "switchyard/data/random_step.h"
#include "switchyard/optim/schedule.h"
#include "switchyard/train/experiment.h"

#include <algorithm>

namespace switchyard::verify {
namespace {

void drop_targets(data::Batch& batch, int64_t row) {
  Tensor targets_S = batch.targets_BS.slice(0, row, row + 1);
  targets_S.fill(-1);
  batch.loss_tokens -= targets_S.numel();
}

train::ExperimentConfig fitted(train::ExperimentConfig config, comm::World& world) {
  train::fit_to_world(config, world);
  return config;
}

std::vector<Choices> all_choices(const Run& run, size_t layers, int64_t top_k) {
  const auto T = static_cast<size_t>(run.num_tokens()), K = static_cast<size_t>(top_k);
  std::vector<Choices> all(layers, Choices{std::vector<int32_t>(T * K), std::vector<double>(T)});
  for (size_t layer = 0; layer < layers; ++layer)
    run.for_each_choice(layer, [&](int64_t token, const int32_t* ids_K, double margin) {
      std::copy_n(ids_K, K, all[layer].ids_TK.begin() + token * top_k);
      all[layer].margins_T[static_cast<size_t>(token)] = margin;
    });
  return all;
}

std::map<std::string, Tensor> all_gradients(train::Session& session) {
  std::map<std::string, Tensor> all;
  for (const parallel::OwnedSlice& owned : session.optimizer.owned_slices()) {
    const Tensor& whole = all[owned.parameter->name] =
        owned.grad.clone(Purpose::buffers).to(Device::cpu).view(owned.parameter->global_shape);
    check(owned.slice.numel() == whole.numel(), "{}: one rank owns a part", owned.parameter->name);
  }
  return all;
}

}  // namespace

BatchSource random_tokens() {
  return [](const train::ExperimentConfig& c, int64_t t, int rank, int ranks) {
    const int64_t B = c.train.micro_batch_size, consumed = (t - 1) * c.train.global_batch_size;
    auto batches = data::random_step(c.data, c.model.vocab_size, static_cast<uint64_t>(c.run.seed), consumed,
                                     c.train.global_batch_size, B, rank, ranks);
    for (size_t a = 0; a < batches.size(); ++a)
      for (int64_t row = 0; row < B; ++row) {
        const int64_t sample = consumed + (static_cast<int64_t>(a) * ranks + rank) * B + row;
        if (sample % 4 == 3) drop_targets(batches[a], row);
      }
    return batches;
  };
}

BatchSource tokens_of(std::shared_ptr<data::Loader> loader) {
  return [loader = std::move(loader)](const train::ExperimentConfig& c, int64_t t, int rank, int ranks) {
    return loader->step((t - 1) * c.train.global_batch_size, c.train.global_batch_size, c.train.micro_batch_size, rank,
                        ranks);
  };
}

Run::Run(const train::ExperimentConfig& config, comm::World& world, BatchSource batches)
    : config_(fitted(config, world)), session_(config_, world), batches_(std::move(batches)) {
  routings_.resize(session_.model.moe_layers().size());
}

const train::StepResult& Run::step(int64_t t) {
  const comm::Group& data = session_.mesh.data();
  const auto batches = batches_(config_, t, data.rank(), data.size());
  const auto layers = session_.model.moe_layers();
  for (size_t l = 0; l < layers.size(); ++l) {
    routings_[l].clear();
    layers[l]->watch(&routings_[l]);
  }
  session_.mesh.all().barrier();
  const double begin = now();
  result_ = train::train_step(session_, batches, t, optim::learning_rate(config_.schedule, t, config_.train.steps));
  seconds_ = now() - begin;
  for (moe::MoeLayer* layer : layers) layer->watch(nullptr);
  return result_;
}

// Row i of micro-batch j is a position of one of its sequences: this rank's run of them, sequence after sequence.
void Run::for_each_choice(size_t layer, const VisitChoice& visit) const {
  const parallel::Mesh& mesh = session_.mesh;
  const int64_t B = config_.train.micro_batch_size, S = config_.data.sequence_length;
  const parallel::Span positions = parallel::span_of(S, mesh.tensor().rank(), mesh.tensor().size());
  for (size_t a = 0; a < routings_[layer].size(); ++a) {
    const moe::Routing& routing = routings_[layer][a];
    const int64_t first = (static_cast<int64_t>(a) * mesh.data().size() + mesh.data().rank()) * B;
    const int64_t K = routing.ids_TK.dim(1), rows = routing.ids_TK.dim(0);
    check(rows == B * positions.size(), "{} routed tokens of {} sequences of {}", rows, B, positions.size());
    for (int64_t i = 0; i < rows; ++i)
      visit((first + i / positions.size()) * S + positions.begin + i % positions.size(),
            routing.ids_TK.host<int32_t>() + i * K, routing.margins_T.host<double>()[i]);
  }
}

Reference run_reference(const train::ExperimentConfig& config, comm::World& one_rank, const BatchSource& batches,
                        int64_t steps, const std::function<void(int64_t)>& begins) {
  Reference reference;
  Run run(config, one_rank, batches);
  std::vector<double> seconds;
  for (int64_t t = 1; t <= steps; ++t) {
    if (begins) begins(t);
    reference.steps.push_back(run.step(t));
    reference.choices.push_back(all_choices(run, run.session().model.moe_layers().size(), config.model.moe.top_k));
    if (t == 1) reference.gradients = all_gradients(run.session());
    seconds.push_back(run.seconds());
  }
  reference.tokens_per_second = static_cast<double>(run.num_tokens()) / median(std::move(seconds));
  return reference;
}

}  // namespace switchyard::verify
