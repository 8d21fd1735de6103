// Measured times.
#pragma once

#include "switchyard/base/error.h"

#include <algorithm>
#include <chrono>
#include <vector>

namespace switchyard {

// Seconds of a clock that never goes back, from any time.
inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

inline double median(std::vector<double> values) {  // of at least one
  const size_t n = values.size();
  check(n > 0, "median of nothing");
  std::sort(values.begin(), values.end());
  return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

}  // namespace switchyard
