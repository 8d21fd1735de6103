// Balance losses that the layers of a pass hand to the training step.
#pragma once

#include "switchyard/tensor/tensor.h"

#include <string>
#include <vector>

namespace switchyard::moe {

class Losses {
 public:
  struct Term {
    std::string name;  // MoeConfig::loss_name of its entry
    Tensor value;      // (1) this rank's partial sum, without the coefficient
    double coefficient;
  };
  // What a layer gives to a loss that is pooled over layers.      T tokens of this rank, E experts
  struct Part {
    std::string name;
    Tensor logits_TE;
    Tensor shares_1E;         // of all choices of the micro-batch; constants
    int64_t num_choices = 0;  // of a token
    int64_t tokens = 0;       // of the whole micro-batch
    int64_t num_blocks = 0;   // micro-batches of the step, over which the loss is averaged
    double coefficient;
  };

  void add(const std::string& name, const Tensor& value, double coefficient) {
    terms_.push_back({name, value, coefficient});
  }
  void add(Part part) { parts_.push_back(std::move(part)); }

  // Once all layers have run: turns the parts of each pooled loss into terms, one of each layer. The loss is that of
  // transformers' load_balancing_loss_func: with L layers and T tokens of the micro-batch,
  //   E sum_e f_e P_e,   f_e = sum_layers c_e / (L T),   P_e = sum_layers sum_t softmax(z_t)_e / (L T)
  // so f sums to the number of choices K, and perfect balance gives K.
  void pool();

  const std::vector<Term>& terms() const { return terms_; }

  // The tensors that gradients reach, and the same losses with others (or none) in their place.
  Tensors tensors() const;
  Losses with(const Tensors& tensors) const;
  Losses without_tensors() const { return with(Tensors(terms_.size() + parts_.size())); }
  void append(const Losses& more);

 private:
  std::vector<Term> terms_;
  std::vector<Part> parts_;
};

}  // namespace switchyard::moe
