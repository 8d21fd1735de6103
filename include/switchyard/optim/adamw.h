// AdamW on the elements a rank owns, and the global gradient norm it is clipped by. Which elements those are is decided
// elsewhere (parallel); here they are flat pieces.
#pragma once

#include "switchyard/optim/config.h"
#include "switchyard/tensor/tensor.h"

#include <span>

namespace switchyard::optim {

// Contiguous tensors of one element count.
struct AdamWPiece {
  Tensor master;      // f32 (f64): the weights themselves, or the masters of bf16 weights
  Tensor weights;     // bf16: receives the rounded masters; undefined: the master is the weight
  Tensor grad;        // f32 (f64)
  Tensor exp_avg;     // f32 (f64)
  Tensor exp_avg_sq;  // f32 (f64)
  bool decay = true;  // weight decay applies
};

class AdamW {
 public:
  explicit AdamW(const OptimizerConfig& config) : config_(config) {}

  // Step `step` (from 1) with gradients times grad_scale; raises the version of the weights' storage.
  void step(std::span<const AdamWPiece> pieces, int64_t step, double lr, double grad_scale = 1) const;

 private:
  OptimizerConfig config_;
};

// Sum of squares in f64 of a contiguous tensor; finite exactly if every element is (f32 and bf16).
double sum_of_squares(const Tensor& t);

// Gradients are multiplied by min(1, max_norm / (norm + 1e-6)); max_norm 0: never clipped.
double clip_factor(double norm, double max_norm);

}  // namespace switchyard::optim
