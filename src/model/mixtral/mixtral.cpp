// Mixtral (Jiang et al. 2024): every layer is MoE.
//   p = softmax(W x), the k largest divided by their sum; y = sum_e p_e w2_e(silu(w1_e x) * w3_e x)
#include "model/hub/page.h"

namespace switchyard::model::hub {

FamilyPage mixtral() {
  return {
      .family = Family::mixtral,
      .architecture = "MixtralForCausalLM",
      .about = "softmax top-k, always renormalised; optional window",
      .config = common_rules() +
                ConfigRules{
                    same("rms_norm_eps", "norm.eps", "1e-5"),
                    head_dim(),
                    rope(1e6, 1.0, false),
                    zero_if_null("sliding_window", "attention.window"),
                    same("num_local_experts", "moe.num_experts", kRequired, "num_experts"),
                    same("num_experts_per_tok", "moe.top_k"),
                    same("intermediate_size", "moe.intermediate_size"),
                    fixed("router_jitter_noise", "0.0"),
                    always("moe.shared.num_experts", "0"),
                },
      .tensors = trunk_rows() +
                 TensorRows{
                     {"model.layers.{i}.block_sparse_moe.gate.weight", "layers.{i}.moe.router.weight"},
                     {"model.layers.{i}.block_sparse_moe.experts.{e}.w1.weight", "layers.{i}.moe.experts.gate_up", 0},
                     {"model.layers.{i}.block_sparse_moe.experts.{e}.w3.weight", "layers.{i}.moe.experts.gate_up", 1},
                     {"model.layers.{i}.block_sparse_moe.experts.{e}.w2.weight", "layers.{i}.moe.experts.down"},
                 },
      .fused = fused_expert_rows() + TensorRows{{"model.layers.{i}.mlp.gate.weight", "layers.{i}.moe.router.weight"}},
  };
}

}  // namespace switchyard::model::hub
