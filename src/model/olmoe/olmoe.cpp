// OLMoE (Muennighoff et al. 2024): every layer is MoE; q and k are normalised over all heads at once, before they are
// split; then q, k and v are clamped on demand.
//   y = sum_e p_e FFN_e(x); p = softmax(W x), as it is unless norm_topk_prob
#include "model/hub/page.h"

namespace switchyard::model::hub {

FamilyPage olmoe() {
  return {
      .family = Family::olmoe,
      .architecture = "OlmoeForCausalLM",
      .about = "softmax top-k, norms of q and k over the full width, optional clamp",
      .config = common_rules() +
                ConfigRules{
                    same("rms_norm_eps", "norm.eps", "1e-5"),
                    even_heads(),
                    rope(10000.0, 1.0, false),
                    choice("attention_bias", "attention.bias", "none", "all", false),
                    always("attention.qk_norm", "full"),
                    zero_if_null("clip_qkv", "attention.clip_qkv"),
                    same("num_experts", "moe.num_experts", kRequired, "num_local_experts"),
                    same("num_experts_per_tok", "moe.top_k"),
                    same("intermediate_size", "moe.intermediate_size"),
                    same("norm_topk_prob", "moe.router.normalize", "false"),
                    always("moe.shared.num_experts", "0"),
                },
      .tensors = trunk_rows() + qkv_bias_rows() + out_bias_rows() + qk_norm_rows() + expert_rows(),
      .fused = fused_expert_rows(),
  };
}

}  // namespace switchyard::model::hub
