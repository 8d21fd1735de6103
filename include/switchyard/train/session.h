// The model of an experiment on this rank with everything that training changes: weights, gradients, optimizer state
// and router biases. What a checkpoint stores and what it restores are listed here, once.
#pragma once

#include "switchyard/checkpoint/load.h"
#include "switchyard/checkpoint/replicas.h"
#include "switchyard/checkpoint/save.h"
#include "switchyard/convert/weights.h"
#include "switchyard/model/decoder.h"
#include "switchyard/parallel/gradient_sync.h"
#include "switchyard/parallel/optimizer.h"
#include "switchyard/train/config.h"
#include "switchyard/train/faults.h"

namespace switchyard::train {

// Loading fills host memory: what belongs on another device waits here for `bring_home`.
class Arrivals {
 public:
  void* place_for(const Tensor& values);  // contiguous; on the CPU its own memory
  void bring_home();

 private:
  std::vector<std::pair<Tensor, Tensor>> pairs_;  // what has arrived, and where it belongs
};

struct Session {
  Session(const ExperimentConfig& config, comm::World& world);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  std::vector<checkpoint::Entry> entries();          // what this rank stores
  std::vector<checkpoint::Target> targets();         // the same places, to be filled
  std::vector<checkpoint::Target> weight_targets();  // masters and router biases only
  std::vector<checkpoint::Replicas> replicas();      // weights and router biases, with the ranks that hold the same
  void loaded();                                     // after targets were filled: weights from masters, on every rank

  const ExperimentConfig& config;
  parallel::Mesh mesh;
  model::Decoder model;
  std::vector<parallel::Bucket> buckets;
  parallel::GradientSync sync;
  parallel::ShardedAdamW optimizer;
  checkpoint::SideFiles files;  // on rank 0: config and tokenizer that the weights came with, kept in each checkpoint
  const Fault fault = fault_from_environment();

 private:
  Arrivals arrivals_;
};

// A model for evaluation and generation: weights alone, in `dtype`, from a checkpoint of any layout or a Hugging Face
// folder.
struct FrozenModel {
  FrozenModel(const ExperimentConfig& config, comm::World& world, DType dtype, const convert::WeightSource& source);

  parallel::Mesh mesh;
  model::Decoder model;
};

// Parameters of the whole model, and those that one token uses: routed experts count top_k / num_experts.
struct ParameterCount {
  int64_t total = 0, active = 0;
};
ParameterCount count_parameters(model::Decoder& model);

}  // namespace switchyard::train
