// One optimizer step: the page to read first.
#pragma once

#include "switchyard/data/loader.h"
#include "switchyard/train/session.h"

#include <map>
#include <optional>

namespace switchyard::train {

// What a step reports, the same on every rank: sums over the global batch.
struct StepResult {
  double loss = 0;                    // what is optimised: lm_loss + coefficient x value of every balance loss
  double lm_loss = 0;                 // mean over loss tokens
  std::map<std::string, double> aux;  // by MoeConfig::loss_name, without coefficient, summed over layers
  double grad_norm = 0;               // before clipping
  bool is_finite = true;              // false: nothing was changed
  std::optional<double> counting_seconds = {};  // of the pass that balance scope global_batch adds, if there was one
  int64_t loss_tokens = 0, routed_tokens = 0;
  std::vector<std::vector<int64_t>> expert_counts;  // (MoE layers, E)
  std::vector<int64_t> bad_rows;                    // (MoE layers) tokens whose router logits are not finite
  std::vector<double> min_margins;                  // (MoE layers) smallest gap between a chosen and a rejected expert
};

// `batches`: this rank's micro-batches. `t` counts steps from 1.
StepResult train_step(Session& session, const std::vector<data::Batch>& batches, int64_t t, double lr);

}  // namespace switchyard::train
