// What a step leaves behind: a record in metrics.jsonl, a line on the console.
#pragma once

#include "switchyard/metrics/record.h"
#include "switchyard/metrics/tables.h"
#include "switchyard/train/evaluate.h"
#include "switchyard/train/step.h"

#include <optional>

namespace switchyard::train {

struct StepFacts {
  int64_t step = 0, tokens = 0;  // tokens so far
  double lr = 0, seconds = 0;
  int64_t memory_bytes = 0;     // peak of the fullest rank
  bool stop_requested = false;  // by a signal to any rank
  uint64_t data_hash = 0;
  StepResult result;
  std::optional<Evaluation> evaluation;
};

// Keys as docs/metrics.md lists them.
metrics::Record record_of(const StepFacts& facts, Session& session);

metrics::StepLine line_of(const StepFacts& facts, int64_t steps);

}  // namespace switchyard::train
