// Timing of short calls.
#pragma once

#include "switchyard/base/clock.h"

#include <algorithm>
#include <cstdint>
#include <limits>

namespace switchyard::bench {

// Seconds of one call in the best of seven batches, which take `seconds` together. A roof is the best seen: other work
// on the machine only lowers it.
template <class Call>
double best_seconds(double seconds, Call&& call) {
  constexpr int kBatches = 7;
  call();
  const double begin = now();
  call();
  const double once = std::max(now() - begin, 1e-7);
  const int64_t calls = std::max<int64_t>(1, static_cast<int64_t>(seconds / kBatches / once));
  double best = std::numeric_limits<double>::infinity();
  for (int batch = 0; batch < kBatches; ++batch) {
    const double start = now();
    for (int64_t i = 0; i < calls; ++i) call();
    best = std::min(best, (now() - start) / static_cast<double>(calls));
  }
  return best;
}

}  // namespace switchyard::bench
