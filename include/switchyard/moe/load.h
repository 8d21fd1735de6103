// How evenly tokens are spread over experts, from counts alone.
#pragma once

#include <cstdint>
#include <vector>

namespace switchyard::moe {

struct Load {
  double max_over_mean = 0;       // 1 at balance; "MaxVio" is this minus 1
  double entropy = 0;             // -sum f ln f of the shares f
  double normalized_entropy = 0;  // divided by ln E: 1 at balance
};

Load load_of(const std::vector<int64_t>& counts_E);  // all zero without tokens

// Counts of `parts` equal runs of consecutive experts: the load of expert ranks or nodes.
std::vector<int64_t> sum_parts(const std::vector<int64_t>& counts_E, int64_t parts);

}  // namespace switchyard::moe
