// A small experiment without files: one dense and two MoE layers in f64, and batches of random tokens.
#pragma once

#include "switchyard/train/step.h"
#include "tests/support/compare.h"

#include <cstdlib>

namespace switchyard::test {

inline train::ExperimentConfig tiny_experiment() {
  train::ExperimentConfig c;
  c.train.dtype = DType::f64;
  c.train.global_batch_size = 4;
  c.train.micro_batch_size = 2;
  c.data.sequence_length = 5;
  model::ModelConfig& m = c.model;
  m.vocab_size = 11;
  m.hidden_size = 6;
  m.num_layers = 3;
  m.max_position = 16;
  m.init.std = 0.3;
  m.attention = {.num_heads = 2, .num_kv_heads = 1, .head_dim = 4};
  m.mlp.intermediate_size = 5;
  m.moe.layers = moe::LayerPattern{.first = 1};
  m.moe.num_experts = 4;
  m.moe.intermediate_size = 3;
  m.moe.shared = {.num_experts = 1, .intermediate_size = 2};
  return c;
}

// This rank's micro-batches of a step: block j of the global batch goes to rank j % ranks.
inline std::vector<data::Batch> tiny_batches(const train::ExperimentConfig& c, int64_t step, int rank, int ranks) {
  const int64_t B = c.train.micro_batch_size, S = c.data.sequence_length, blocks = c.train.global_batch_size / B;
  const Shape all{c.train.global_batch_size, S};
  const Tensor tokens = random_ids(all, 0, c.model.vocab_size, fmt::format("tokens {}", step));
  const Tensor targets = random_ids(all, -1, c.model.vocab_size, fmt::format("targets {}", step));  // -1: no loss
  std::vector<data::Batch> batches;
  for (int64_t j = rank; j < blocks; j += ranks) {
    data::Batch& batch = batches.emplace_back();
    batch.tokens_BS = tokens.slice(0, j * B, (j + 1) * B);
    batch.targets_BS = targets.slice(0, j * B, (j + 1) * B);
    for (const int32_t target : batch.targets_BS.to_vector<int32_t>()) batch.loss_tokens += target >= 0;
  }
  return batches;
}

// An environment variable for the lifetime of this.
class Environment {
 public:
  Environment(const char* name, const std::string& value) : name_(name) { setenv(name, value.c_str(), 1); }
  ~Environment() { unsetenv(name_); }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  const char* name_;
};

}  // namespace switchyard::test
