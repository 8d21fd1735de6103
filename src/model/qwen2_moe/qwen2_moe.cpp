// Qwen1.5-MoE and Qwen2-MoE: biases on q, k and v; a shared expert behind a gate; dense layers by step and list.
//   y = sum_e p_e FFN_e(x) + sigmoid(g x) FFN_shared(x); p = softmax(W x), divided by the sum of the chosen on demand
#include "model/hub/page.h"

namespace switchyard::model::hub {

FamilyPage qwen2_moe() {
  return {
      .family = Family::qwen2_moe,
      .architecture = "Qwen2MoeForCausalLM",
      .about = "softmax top-k, a shared expert behind a sigmoid gate, q, k, v biases, dense layers by step and list",
      .config = common_rules() +
                ConfigRules{
                    same("rms_norm_eps", "norm.eps", "1e-6"),
                    even_heads(),
                    rope(10000.0, 1.0, false),
                    choice("qkv_bias", "attention.bias", "none", "qkv", true),
                    same("intermediate_size", "mlp.intermediate_size"),
                    sparse_layers(),
                    same("num_experts", "moe.num_experts", kRequired, "num_local_experts"),
                    same("num_experts_per_tok", "moe.top_k"),
                    same("moe_intermediate_size", "moe.intermediate_size"),
                    same("norm_topk_prob", "moe.router.normalize", "false"),
                    same("shared_expert_intermediate_size", "moe.shared.intermediate_size"),
                    always("moe.shared.num_experts", "1"),
                    always("moe.shared.gate", "sigmoid"),
                    fixed("use_sliding_window", "false"),
                    full_attention_layers(),
                    harmless({"sliding_window", "max_window_layers"}),
                },
      .tensors = trunk_rows() + qkv_bias_rows() + dense_rows() + expert_rows() +
                 TensorRows{{"model.layers.{i}.mlp.shared_expert.gate_proj.weight", "layers.{i}.moe.shared.gate_up", 0},
                            {"model.layers.{i}.mlp.shared_expert.up_proj.weight", "layers.{i}.moe.shared.gate_up", 1},
                            {"model.layers.{i}.mlp.shared_expert.down_proj.weight", "layers.{i}.moe.shared.down"},
                            {"model.layers.{i}.mlp.shared_expert_gate.weight", "layers.{i}.moe.shared_gate.weight"}},
      .fused = fused_expert_rows(),
  };
}

}  // namespace switchyard::model::hub
