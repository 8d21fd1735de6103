// Training steps of one config in one layout, and what a comparison looks at. The step is that of every training
// (train/step.h).        T tokens of the global batch, K choices, L MoE layers
#pragma once

#include "switchyard/train/step.h"

#include <functional>

namespace switchyard::verify {

// Micro-batches of a data rank in step t, from 1 on, as data::Loader::step has them.
using BatchSource =
    std::function<std::vector<data::Batch>(const train::ExperimentConfig& config, int64_t t, int rank, int ranks)>;

// Random tokens from run.seed. Every fourth sample has no target, so that a rank may have no loss token.
BatchSource random_tokens();
// The samples of a training.
BatchSource tokens_of(std::shared_ptr<data::Loader> loader);

class Run {
 public:
  Run(const train::ExperimentConfig& config, comm::World& world, BatchSource batches);

  const train::StepResult& step(int64_t t);    // takes the learning rate of that step
  double seconds() const { return seconds_; }  // of the last step

  // The last step's choices in an MoE layer that were made on this rank: visit(token of the global batch, its K
  // experts, margin).
  using VisitChoice = std::function<void(int64_t token, const int32_t* ids_K, double margin)>;
  void for_each_choice(size_t layer, const VisitChoice& visit) const;

  train::Session& session() { return session_; }
  const train::ExperimentConfig& config() const { return config_; }
  int64_t num_tokens() const { return config_.train.global_batch_size * config_.data.sequence_length; }

 private:
  train::ExperimentConfig config_;
  train::Session session_;
  BatchSource batches_;
  std::vector<std::vector<moe::Routing>> routings_;  // (L, micro-batches of this rank)
  train::StepResult result_;
  double seconds_ = 0;
};

// What one step chose in one layer, tokens in the order of the global batch.
struct Choices {
  std::vector<int32_t> ids_TK;
  std::vector<double> margins_T;  // gap between the last chosen and the first rejected expert
};

// The run that others are compared with: on one rank.
struct Reference {
  std::vector<train::StepResult> steps;
  std::vector<std::vector<Choices>> choices;  // (steps, L)
  std::map<std::string, Tensor> gradients;    // of the first step, by parameter, f32 or f64
  double tokens_per_second = 0;
};

// `begins` is called with the number of each step.
Reference run_reference(const train::ExperimentConfig& config, comm::World& one_rank, const BatchSource& batches,
                        int64_t steps, const std::function<void(int64_t)>& begins = {});

}  // namespace switchyard::verify
