// Rules between the sections of an experiment.
#include "switchyard/train/config.h"

namespace switchyard::train {

void TrainConfig::validate() const {
  config::expect(global_batch_size % micro_batch_size == 0, "global_batch_size",
                 "{} is not a multiple of micro_batch_size={}", global_batch_size, micro_batch_size);
}

void ExperimentConfig::validate() const {
  const bool has_experts = model.moe.layers.has_value();
  config::expect(has_experts || parallel.expert == 1, "parallel.expert",
                 "{}, but model.moe.layers is none: there are no experts to share", parallel.expert);
  config::expect(model.moe.num_experts % parallel.expert == 0 || !has_experts, "model.moe.num_experts",
                 "{} is not a multiple of parallel.expert={}", model.moe.num_experts, parallel.expert);
  const int64_t pass = train.micro_batch_size * std::max<int64_t>(parallel.data, 1);
  config::expect(train.global_batch_size % pass == 0, "train.global_batch_size",
                 "{} is not a multiple of train.micro_batch_size={} x parallel.data={}", train.global_batch_size,
                 train.micro_batch_size, parallel.data);
  config::expect(data.sequence_length <= model.max_position, "data.sequence_length", "{} exceeds model.max_position={}",
                 data.sequence_length, model.max_position);
  const int64_t tokens = data.tokenizer_size();
  const bool has_text = !data.train.empty() && !data.train.front().is_batch_file();
  config::expect(!has_text || model.vocab_size == 0 || model.vocab_size >= tokens, "model.vocab_size",
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
