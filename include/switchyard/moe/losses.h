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
  void add(const std::string& name, const Tensor& value, double coefficient) {
    terms_.push_back({name, value, coefficient});
  }
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
