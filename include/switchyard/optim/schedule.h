// Learning rate of a step: a pure function, so that a resumed run needs no state.
#pragma once

#include "switchyard/optim/config.h"

namespace switchyard::optim {

// Rate of step t = 1 .. steps. Warm-up: lr t / warmup. Then
//   constant       lr
//   linear         from lr at t = warmup straight to min_lr at t = steps
//   cosine         min_lr + (lr - min_lr) (1 + cos(pi x)) / 2,  x = (t - warmup) / (steps - warmup)
//   wsd            lr, and in the last decay_steps steps straight to min_lr (Hu et al. 2024, MiniCPM)
//   step           lr times factor for every boundary below t
//   inverse_sqrt   lr sqrt(warmup / t), with warmup at least 1 (Vaswani et al. 2017)
double learning_rate(const ScheduleConfig& config, int64_t t, int64_t steps);

}  // namespace switchyard::optim
