// Balance losses that the layers of a pass hand to the training step.
#pragma once

#include "switchyard/moe/balance_config.h"
#include "switchyard/tensor/tensor.h"

#include <vector>

namespace switchyard::moe {

class Losses {
 public:
  struct Term {
    BalanceKind kind;
    Tensor value;  // (1) this rank's partial sum, without the coefficient
    double coefficient;
  };
  void add(BalanceKind kind, const Tensor& value, double coefficient) { terms_.push_back({kind, value, coefficient}); }
  const std::vector<Term>& terms() const { return terms_; }
  Losses without_values() const {
    Losses copy = *this;
    for (Term& term : copy.terms_) term.value = {};
    return copy;
  }

 private:
  std::vector<Term> terms_;
};

}  // namespace switchyard::moe
