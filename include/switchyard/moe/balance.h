// Loss-free balancing (Wang et al. 2024): after a step the selection bias of experts with fewer tokens than the mean
// rises, that of experts with more falls.
#pragma once

#include "switchyard/moe/config.h"
#include "switchyard/tensor/tensor.h"

namespace switchyard::moe {

// sign: b_e += rate sign(sum c - E c_e), in integers; proportional: b_e += rate (mean - c_e) / mean. `automatic` is
// sign for sigmoid scores and proportional for softmax. Counts are those of the whole global batch; without tokens
// nothing changes.
void update_selection_bias(const BalanceConfig& config, RouterScore score, const std::vector<int64_t>& counts_E,
                           Tensor& bias_E);

}  // namespace switchyard::moe
