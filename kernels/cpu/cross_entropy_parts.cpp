// A row at a time: three numbers of each part, so few that threads would cost more. Traffic: 24 bytes of each part are
// read and 24 written for each row.
#include "kernels/cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace switchyard::kernels {

void combine_statistics(exec::Cpu, const CombineStatisticsArgs& a) {
  for (int64_t r = 0; r < a.R; ++r) {
    double largest = -std::numeric_limits<double>::infinity(), sum = 0, target = 0;
    for (int64_t p = 0; p < a.P; ++p) largest = std::max(largest, a.parts[(p * a.R + r) * 3]);
    for (int64_t p = 0; p < a.P; ++p) {
      const double* part = a.parts + (p * a.R + r) * 3;
      if (part[1] != 0) sum += part[1] * std::exp(part[0] - largest);
      target += part[2];
    }
    double* row = a.statistics + r * 3;
    row[0] = largest, row[1] = sum, row[2] = target;
  }
}

}  // namespace switchyard::kernels
