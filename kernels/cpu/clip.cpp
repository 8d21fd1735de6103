// Two numbers in, one out.
#include "kernels/clip.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace switchyard::kernels {

void clip(exec::Cpu, const ClipArgs& a) {
  const double norm = std::sqrt(a.sums[0]);
  if (!std::isfinite(norm) || !std::isfinite(a.sums[1]))
    *a.factor = std::numeric_limits<double>::quiet_NaN();
  else
    *a.factor = a.max_norm > 0 ? std::min(1.0, a.max_norm / (norm + 1e-6)) : 1.0;
}

}  // namespace switchyard::kernels
