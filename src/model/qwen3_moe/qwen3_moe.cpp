// Qwen3-MoE: norms of q and k per head, heads of any width, no shared expert.
//   y = sum_e p_e FFN_e(x); p = softmax(W x), divided by the sum of the chosen on demand
#include "model/hub/page.h"

namespace switchyard::model::hub {

FamilyPage qwen3_moe() {
  return {
      .family = Family::qwen3_moe,
      .architecture = "Qwen3MoeForCausalLM",
      .about = "softmax top-k, norms of q and k per head, dense layers by step and list",
      .config = common_rules() +
                ConfigRules{
                    same("rms_norm_eps", "norm.eps", "1e-6"),
                    head_dim(),
                    rope(10000.0, 1.0, false),
                    choice("attention_bias", "attention.bias", "none", "all", false),
                    always("attention.qk_norm", "head"),
                    same("intermediate_size", "mlp.intermediate_size"),
                    sparse_layers(),
                    same("num_experts", "moe.num_experts", kRequired, "num_local_experts"),
                    same("num_experts_per_tok", "moe.top_k"),
                    same("moe_intermediate_size", "moe.intermediate_size"),
                    same("norm_topk_prob", "moe.router.normalize", "false"),
                    always("moe.shared.num_experts", "0"),
                    fixed("use_sliding_window", "false"),
                    full_attention_layers(),
                    harmless({"sliding_window", "max_window_layers"}),
                },
      .tensors = trunk_rows() + qkv_bias_rows() + out_bias_rows() + qk_norm_rows() + dense_rows() + expert_rows(),
      .fused = fused_expert_rows(),
  };
}

}  // namespace switchyard::model::hub
