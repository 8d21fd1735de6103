// What a step reports: sums over the global batch of losses and of what MoE layers counted, and minima over ranks.
#pragma once

#include "switchyard/tensor/host_copy.h"
#include "switchyard/train/step.h"

namespace switchyard::train {

// Gathers this rank's part pass by pass, without waiting for the device.
class StepSums {
 public:
  explicit StepSums(Session& session);

  void add(const model::LossTerms& terms);
  const Tensor& total_1() const { return total_1_; }  // the loss of the passes so far, where the model is
  // Collective. Waits for the device; fills loss, lm_loss, aux and what stands there by MoE layer.
  void reduce_into(StepResult& result);

 private:
  struct Pass {
    HostCopy total, lm;
    std::vector<std::pair<std::string, HostCopy>> aux;
  };
  void read_passes();

  Session& session_;
  bool counts_lm_;  // the language-model loss is the same on all tensor ranks: true on one of them
  Tensor total_1_;
  std::vector<Pass> passes_;
  double total_ = 0, lm_ = 0;
  std::map<std::string, double> aux_;
};

}  // namespace switchyard::train
