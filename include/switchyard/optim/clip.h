// Clipping by the global norm: the factor that AdamW multiplies gradients by as it reads them.
#pragma once

#include "switchyard/base/error.h"

#include <algorithm>
#include <cmath>

namespace switchyard::optim {

// min(1, max_norm / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_ has it; max_norm 0: never clipped. `norm` is that
// of all gradients and must be finite: a step whose norm is not changes no weight, so there is nothing to scale.
inline double clip_factor(double norm, double max_norm) {
  check(std::isfinite(norm) && norm >= 0, "clipping: the gradient norm is {}", norm);
  return max_norm > 0 ? std::min(1.0, max_norm / (norm + 1e-6)) : 1.0;
}

}  // namespace switchyard::optim
