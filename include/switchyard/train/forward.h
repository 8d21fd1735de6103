// What a model computes on given tokens, by the names that reference files use.
//   B sequences, S positions, T = B S tokens, V vocabulary, E experts, K choices, i a decoder layer
#pragma once

#include "switchyard/comm/world.h"
#include "switchyard/convert/weights.h"
#include "switchyard/files/safetensors.h"
#include "switchyard/train/config.h"

#include <functional>
#include <map>

namespace switchyard::train {

struct ForwardOptions {
  bool gradients = false;  // grad.NAME of loss_mean, by the family's name of the tensor (of generic models: ours)
  bool routing = false;    // router_logits.i (T, E), topk_ids.i ascending and topk_weights.i (T, K) of MoE layers
  bool hidden = false;     // hidden.i (B, S, D): the residual stream before layer i; one more behind the last
  int64_t generate = 0;    // greedy ids after `prompt_ids`: generated_ids (B, N)
  DType dtype = DType::f32;
  std::function<void(const std::string&)> begins = {};  // called with the name of each part of the work
};

// `inputs` has input_ids (B, S) of I64; labels (B, S), where position t predicts label t + 1 and -100 is ignored, add
// loss_sum, loss_mean, loss_count; prompt_ids (B, P) is read with `generate`. Evaluation mode, balance losses left out;
// results are f32, counts and ids i64. Collective: every data rank computes the whole batch, with its share of the
// experts; rank 0 has the result. Throws Error(input) for ids that the model does not have.
std::map<std::string, Tensor> forward(const ExperimentConfig& config, comm::World& world,
                                      const convert::WeightSource& source, const files::SafetensorsFile& inputs,
                                      const ForwardOptions& options);

}  // namespace switchyard::train
