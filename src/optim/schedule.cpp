// One line per kind.
#include "switchyard/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace switchyard::optim {
namespace {

// How far t is from `begin` (0) to `end` (1).
double fraction(int64_t t, int64_t begin, int64_t end) {
  return end <= begin ? 1.0 : std::clamp(static_cast<double>(t - begin) / static_cast<double>(end - begin), 0.0, 1.0);
}

}  // namespace

double learning_rate(const ScheduleConfig& c, int64_t t, int64_t steps) {
  check(t >= 1, "learning_rate: steps count from 1, got {}", t);
  if (t <= c.warmup_steps) return c.lr * static_cast<double>(t) / static_cast<double>(c.warmup_steps);
  const double x = fraction(t, c.warmup_steps, steps);
  switch (c.kind) {
    case ScheduleKind::constant: return c.lr;
    case ScheduleKind::linear: return c.lr + (c.min_lr - c.lr) * x;
    case ScheduleKind::cosine: return c.min_lr + 0.5 * (c.lr - c.min_lr) * (1 + std::cos(std::numbers::pi * x));
    case ScheduleKind::wsd: return c.lr + (c.min_lr - c.lr) * fraction(t, steps - c.decay_steps, steps);
    case ScheduleKind::step: {
      const auto passed = std::count_if(c.boundaries.begin(), c.boundaries.end(), [t](int64_t b) { return b < t; });
      return c.lr * std::pow(c.factor, static_cast<double>(passed));
    }
    case ScheduleKind::inverse_sqrt:
      return c.lr * std::sqrt(static_cast<double>(std::max<int64_t>(c.warmup_steps, 1)) / static_cast<double>(t));
  }
  return c.lr;
}

}  // namespace switchyard::optim
