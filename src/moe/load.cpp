// Load metrics.
#include "switchyard/moe/load.h"

#include "switchyard/base/error.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace switchyard::moe {

Load load_of(const std::vector<int64_t>& counts_E) {
  Load load;
  const double E = static_cast<double>(counts_E.size());
  const auto total = static_cast<double>(std::accumulate(counts_E.begin(), counts_E.end(), int64_t{0}));
  if (total == 0) return load;
  for (const int64_t count : counts_E) {
    const double share = static_cast<double>(count) / total;
    if (count > 0) load.entropy -= share * std::log(share);
  }
  load.max_over_mean = static_cast<double>(*std::max_element(counts_E.begin(), counts_E.end())) * E / total;
  load.normalized_entropy = counts_E.size() == 1 ? 1 : load.entropy / std::log(E);
  return load;
}

std::vector<int64_t> sum_parts(const std::vector<int64_t>& counts_E, int64_t parts) {
  const auto E = static_cast<int64_t>(counts_E.size());
  check(parts >= 1 && E % parts == 0, "sum_parts: {} experts in {} parts", E, parts);
  std::vector<int64_t> sums(static_cast<size_t>(parts));
  for (int64_t e = 0; e < E; ++e) sums[static_cast<size_t>(e / (E / parts))] += counts_E[static_cast<size_t>(e)];
  return sums;
}

}  // namespace switchyard::moe
