// Rules between the keys of `optimizer` and `schedule`.
#include "switchyard/optim/config.h"

namespace switchyard::optim {

void OptimizerConfig::validate() const {
  for (const double beta : betas) config::expect(beta < 1.0, "betas", "{} is not below 1", beta);
}

void ScheduleConfig::validate() const {
  const bool ends_at_min = kind == ScheduleKind::linear || kind == ScheduleKind::cosine || kind == ScheduleKind::wsd;
  config::expect(min_lr <= lr || !ends_at_min, "min_lr", "{} exceeds lr={}; give a min_lr of at most lr", min_lr, lr);
  config::expect(kind != ScheduleKind::inverse_sqrt || warmup_steps > 0, "warmup_steps",
                 "0: inverse_sqrt is lr sqrt(warmup_steps / step) and needs at least 1");
  for (size_t i = 1; i < boundaries.size(); ++i)
    config::expect(boundaries[i - 1] < boundaries[i], "boundaries", "{} does not come after {}; they must increase",
                   boundaries[i], boundaries[i - 1]);
}

}  // namespace switchyard::optim
