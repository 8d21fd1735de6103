// The factor that AdamW multiplies gradients by as it reads them, so that their global norm is at most max_norm:
//   min(1, max_norm / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_ has it;   max_norm 0: 1
// NaN, with which AdamW changes nothing, where the norm or the loss is not finite.
#pragma once

#include "switchyard/base/exec.h"

namespace switchyard::kernels {

struct ClipArgs {
  const double* sums;  // (2) squares of all gradients, and losses: of all ranks
  double* factor;      // (1)
  double max_norm;     // at least 0
};
void clip(exec::Cpu, const ClipArgs&);
void clip(exec::Cuda, const ClipArgs&);

}  // namespace switchyard::kernels
