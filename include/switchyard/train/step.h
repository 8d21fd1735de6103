// One optimizer step: the page to read first.
#pragma once

#include "switchyard/data/loader.h"
#include "switchyard/train/session.h"

#include <map>
#include <optional>

namespace switchyard::train {

// Where the tokens of a layer went: distinct expert ranks and nodes of each token's experts, and bytes of rows that all
// ranks moved inside themselves, inside their node and between nodes, forward and backward.
struct LayerTraffic {
  double ranks_per_token_mean = 0, nodes_per_token_mean = 0;
  int64_t ranks_per_token_max = 0, nodes_per_token_max = 0;
  int64_t bytes_rank = 0, bytes_node = 0, bytes_network = 0;
  std::vector<int64_t> rows_N;  // choices whose expert is on each node
};

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
  std::vector<double> min_margins;    // (MoE layers) smallest gap between a chosen and a rejected expert or group
  std::vector<LayerTraffic> traffic;  // (MoE layers)
};

// `batches`: this rank's micro-batches. `t` counts steps from 1.
StepResult train_step(Session& session, const std::vector<data::Batch>& batches, int64_t t, double lr);

}  // namespace switchyard::train
