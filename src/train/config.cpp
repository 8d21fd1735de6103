// Rules between the sections of an experiment.
#include "switchyard/train/config.h"

namespace switchyard::train {

void TrainConfig::validate() const {
  config::expect(global_batch_size % micro_batch_size == 0, "global_batch_size",
                 "{} is not a multiple of micro_batch_size={}", global_batch_size, micro_batch_size);
}

namespace {

// What tensor and expert-tensor ranks split must be a multiple of their number.
void expect_splits(const ExperimentConfig& c) {
  const auto expect_multiple = [](const char* key, int64_t size, const char* axis, int64_t ranks) {
    config::expect(size % ranks == 0, key, "{} is not a multiple of parallel.{}={}", size, axis, ranks);
  };
  const int64_t tensor = c.parallel.tensor, kv_heads = c.model.attention.num_kv_heads;
  expect_multiple("model.attention.num_heads", c.model.attention.num_heads, "tensor", tensor);
  config::expect(kv_heads % tensor == 0 || tensor % kv_heads == 0, "model.attention.num_kv_heads",
                 "{} and parallel.tensor={}: one must be a multiple of the other", kv_heads, tensor);
  expect_multiple("data.sequence_length", c.data.sequence_length, "tensor", tensor);
  bool has_dense = false;
  for (int64_t i = 0; i < c.model.num_layers; ++i) has_dense |= !c.model.is_moe(i);
  if (has_dense) expect_multiple("model.mlp.intermediate_size", c.model.mlp.intermediate_size, "tensor", tensor);
  if (!c.model.moe.layers) return;
  const moe::MoeConfig& moe = c.model.moe;
  if (moe.shared.num_experts > 0)
    config::expect(moe.shared.width() % tensor == 0, "model.moe.shared.intermediate_size",
                   "{} x num_experts={} is not a multiple of parallel.tensor={}", moe.shared.intermediate_size,
                   moe.shared.num_experts, tensor);
  expect_multiple("model.moe.intermediate_size", moe.intermediate_size, "expert_tensor", c.parallel.expert_tensor);
}

}  // namespace

void ExperimentConfig::validate() const {
  const bool has_experts = model.moe.layers.has_value();
  config::expect(has_experts || parallel.expert * parallel.expert_tensor == 1, "parallel.expert",
                 "{} x expert_tensor={}, but model.moe.layers is none: there are no experts to share", parallel.expert,
                 parallel.expert_tensor);
  expect_splits(*this);
  config::expect(model.moe.num_experts % parallel.expert == 0 || !has_experts, "model.moe.num_experts",
                 "{} is not a multiple of parallel.expert={}", model.moe.num_experts, parallel.expert);
  const int64_t pass = train.micro_batch_size * std::max<int64_t>(parallel.data, 1);
  config::expect(train.global_batch_size % pass == 0, "train.global_batch_size",
                 "{} is not a multiple of train.micro_batch_size={} x parallel.data={}", train.global_batch_size,
                 train.micro_batch_size, parallel.data);
  config::expect(data.sequence_length <= model.max_position, "data.sequence_length", "{} exceeds model.max_position={}",
                 data.sequence_length, model.max_position);
  const int64_t tokens = data.tokenizer_size();
  config::expect(!data.trains_on_text() || model.vocab_size == 0 || model.vocab_size >= tokens, "model.vocab_size",
                 "{} is smaller than the {} tokens of data.tokenizer={}; 0 takes the tokenizer's size",
                 model.vocab_size, tokens, data.tokenizer);
  config::expect(schedule.kind != optim::ScheduleKind::wsd || schedule.decay_steps <= train.steps,
                 "schedule.decay_steps", "{} exceeds train.steps={}", schedule.decay_steps, train.steps);
}

int64_t check_world(const ExperimentConfig& config, int64_t world_size) {
  ExperimentConfig filled = config;
  filled.parallel.data = parallel::check_world(config.parallel, world_size);
  try {
    filled.validate();
  } catch (const config::Invalid& rule) {
    fail(ExitCode::usage, "world size {} does not fit: {}", world_size, rule.what());
  }
  return filled.parallel.data;
}

}  // namespace switchyard::train
