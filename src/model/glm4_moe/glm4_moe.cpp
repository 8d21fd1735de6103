// GLM-4.5: the first layers are dense; sigmoid scores with a bias for the selection, as in DeepSeek-V3; half of a head
// rotates.
//   s = sigmoid(W x); the k largest of s + b, within the best groups; p = scale * s / sum of the chosen s
//   y = sum_e p_e FFN_e(x) + FFN_shared(x)
#include "model/hub/page.h"

namespace switchyard::model::hub {

FamilyPage glm4_moe() {
  return {
      .family = Family::glm4_moe,
      .architecture = "Glm4MoeForCausalLM",
      .about = "sigmoid top-k with selection bias and groups, shared experts, part of a head rotates",
      .config = common_rules() +
                ConfigRules{
                    same("rms_norm_eps", "norm.eps", "1e-5"),
                    head_dim(),
                    rope(10000.0, 0.5, true),
                    choice("attention_bias", "attention.bias", "none", "qkv", false),
                    choice("use_qk_norm", "attention.qk_norm", "none", "head", false),
                    same("intermediate_size", "mlp.intermediate_size"),
                    first_dense_layers(),
                    same("n_routed_experts", "moe.num_experts", kRequired, "num_local_experts"),
                    same("num_experts_per_tok", "moe.top_k"),
                    same("moe_intermediate_size", "moe.intermediate_size"),
                    shared_experts(),
                    expert_groups(),
                    same("norm_topk_prob", "moe.router.normalize", "true"),
                    same("routed_scaling_factor", "moe.router.scale", "1.0"),
                    always("moe.router.score", "sigmoid"),
                    always("moe.router.selection_bias", "true"),
                    mtp_depth(),
                },
      .tensors =
          trunk_rows() + qkv_bias_rows() + qk_norm_rows() + dense_rows() + expert_rows() +
          TensorRows{{"model.layers.{i}.mlp.gate.e_score_correction_bias", "layers.{i}.moe.router.selection_bias"},
                     {"model.layers.{i}.mlp.shared_experts.gate_proj.weight", "layers.{i}.moe.shared.gate_up", 0},
                     {"model.layers.{i}.mlp.shared_experts.up_proj.weight", "layers.{i}.moe.shared.gate_up", 1},
                     {"model.layers.{i}.mlp.shared_experts.down_proj.weight", "layers.{i}.moe.shared.down"}},
      .fused = fused_expert_rows(),
      .carries_mtp = true,
  };
}

}  // namespace switchyard::model::hub
