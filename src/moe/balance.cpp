// The bias update.
#include "switchyard/moe/balance.h"

#include <numeric>

namespace switchyard::moe {

void update_selection_bias(const BalanceConfig& config, RouterScore score, const std::vector<int64_t>& counts_E,
                           Tensor& bias_E) {
  const bool by_sign =
      config.rule == BiasRule::sign || (config.rule == BiasRule::automatic && score == RouterScore::sigmoid);
  const int64_t sum = std::accumulate(counts_E.begin(), counts_E.end(), int64_t{0});
  if (sum == 0) return;
  const auto experts = static_cast<int64_t>(counts_E.size());
  auto* bias = bias_E.host<float>();
  for (size_t e = 0; e < counts_E.size(); ++e) {
    const int64_t missing = sum - experts * counts_E[e];  // E times (mean - count)
    const double step = by_sign ? static_cast<double>((missing > 0) - (missing < 0))
                                : static_cast<double>(missing) / static_cast<double>(sum);
    bias[e] += static_cast<float>(config.rate * step);
  }
}

}  // namespace switchyard::moe
