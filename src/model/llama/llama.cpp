// Llama: the dense decoder that the other families start from (Touvron et al. 2023; Llama 3: scaled rotation).
//   x + attention(rms(x)), then x + down(silu(gate(rms x)) * up(rms x)); grouped queries, rotation of the whole head
#include "model/hub/page.h"

namespace switchyard::model::hub {

FamilyPage llama() {
  return {
      .family = Family::llama,
      .architecture = "LlamaForCausalLM",
      .about = "dense; grouped queries, optional biases, scaled rotation",
      .config = common_rules() +
                ConfigRules{
                    same("rms_norm_eps", "norm.eps", "1e-6"),
                    head_dim(),
                    rope(10000.0, 1.0, false),
                    choice("attention_bias", "attention.bias", "none", "all", false),
                    same("intermediate_size", "mlp.intermediate_size"),
                    same("mlp_bias", "mlp.bias", "false"),
                    fixed("pretraining_tp", "1"),
                    always("moe.layers", "none"),
                },
      .tensors = trunk_rows() + qkv_bias_rows() + out_bias_rows() + dense_rows() + dense_bias_rows(),
  };
}

}  // namespace switchyard::model::hub
