// Rows that families share: the trunk of Llama, and experts one matrix each.
#include "model/hub/page.h"

namespace switchyard::model::hub {

TensorRows trunk_rows() {
  return {
      {"model.embed_tokens.weight", "embedding.weight"},
      {"model.layers.{i}.input_layernorm.weight", "layers.{i}.attention_norm.weight"},
      {"model.layers.{i}.self_attn.q_proj.weight", "layers.{i}.attention.q.weight"},
      {"model.layers.{i}.self_attn.k_proj.weight", "layers.{i}.attention.k.weight"},
      {"model.layers.{i}.self_attn.v_proj.weight", "layers.{i}.attention.v.weight"},
      {"model.layers.{i}.self_attn.o_proj.weight", "layers.{i}.attention.out.weight"},
      {"model.layers.{i}.post_attention_layernorm.weight", "layers.{i}.ffn_norm.weight"},
      {"model.norm.weight", "norm.weight"},
      {"lm_head.weight", "head.weight"},
  };
}

TensorRows qkv_bias_rows() {
  return {{"model.layers.{i}.self_attn.q_proj.bias", "layers.{i}.attention.q.bias"},
          {"model.layers.{i}.self_attn.k_proj.bias", "layers.{i}.attention.k.bias"},
          {"model.layers.{i}.self_attn.v_proj.bias", "layers.{i}.attention.v.bias"}};
}

TensorRows out_bias_rows() { return {{"model.layers.{i}.self_attn.o_proj.bias", "layers.{i}.attention.out.bias"}}; }

TensorRows qk_norm_rows() {
  return {{"model.layers.{i}.self_attn.q_norm.weight", "layers.{i}.attention.q_norm.weight"},
          {"model.layers.{i}.self_attn.k_norm.weight", "layers.{i}.attention.k_norm.weight"}};
}

TensorRows dense_rows() {
  return {{"model.layers.{i}.mlp.gate_proj.weight", "layers.{i}.mlp.gate_up", 0},
          {"model.layers.{i}.mlp.up_proj.weight", "layers.{i}.mlp.gate_up", 1},
          {"model.layers.{i}.mlp.down_proj.weight", "layers.{i}.mlp.down"}};
}

TensorRows dense_bias_rows() {
  return {{"model.layers.{i}.mlp.gate_proj.bias", "layers.{i}.mlp.gate_up_bias", 0},
          {"model.layers.{i}.mlp.up_proj.bias", "layers.{i}.mlp.gate_up_bias", 1},
          {"model.layers.{i}.mlp.down_proj.bias", "layers.{i}.mlp.down_bias"}};
}

TensorRows expert_rows() {
  return {{"model.layers.{i}.mlp.gate.weight", "layers.{i}.moe.router.weight"},
          {"model.layers.{i}.mlp.experts.{e}.gate_proj.weight", "layers.{i}.moe.experts.gate_up", 0},
          {"model.layers.{i}.mlp.experts.{e}.up_proj.weight", "layers.{i}.moe.experts.gate_up", 1},
          {"model.layers.{i}.mlp.experts.{e}.down_proj.weight", "layers.{i}.moe.experts.down"}};
}

TensorRows fused_expert_rows() {
  return {{"model.layers.{i}.mlp.experts.gate_up_proj", "layers.{i}.moe.experts.gate_up"},
          {"model.layers.{i}.mlp.experts.down_proj", "layers.{i}.moe.experts.down"}};
}

}  // namespace switchyard::model::hub
