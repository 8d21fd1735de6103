// A case of goldens/: a published checkpoint as our model, and the values that belong to it (goldens/README.md).
#pragma once

#include "tests/model/safetensors_file.h"
#include "tests/model/tiny_model.h"

#include <regex>

namespace switchyard::test {

// Where a tensor of a published checkpoint stands in ours: a parameter, and indices into its first dimensions.
struct Place {
  std::string parameter;
  std::vector<int64_t> indices;

  Tensor part_of(Tensor whole) const {
    for (const int64_t index : indices)
      whole = whole.slice(0, index, index + 1).view(Shape(whole.shape().begin() + 1, whole.shape().end()));
    return whole;
  }
};

// Published names with the layer as {i}; of experts, {e} is the first index. `part`: 0 gate, 1 up, -1 neither.
inline Place place_of(const std::string& hub_name) {
  struct Row {
    const char *hub, *ours;
    int64_t part = -1;
  };
  static const Row rows[] = {
      {"model.embed_tokens.weight", "embedding.weight"},
      {"model.norm.weight", "norm.weight"},
      {"lm_head.weight", "head.weight"},
      {"model.layers.{i}.input_layernorm.weight", "layers.{i}.attention_norm.weight"},
      {"model.layers.{i}.post_attention_layernorm.weight", "layers.{i}.ffn_norm.weight"},
      {"model.layers.{i}.self_attn.q_proj.weight", "layers.{i}.attention.q.weight"},
      {"model.layers.{i}.self_attn.k_proj.weight", "layers.{i}.attention.k.weight"},
      {"model.layers.{i}.self_attn.v_proj.weight", "layers.{i}.attention.v.weight"},
      {"model.layers.{i}.self_attn.o_proj.weight", "layers.{i}.attention.out.weight"},
      {"model.layers.{i}.self_attn.q_proj.bias", "layers.{i}.attention.q.bias"},
      {"model.layers.{i}.self_attn.k_proj.bias", "layers.{i}.attention.k.bias"},
      {"model.layers.{i}.self_attn.v_proj.bias", "layers.{i}.attention.v.bias"},
      {"model.layers.{i}.self_attn.q_norm.weight", "layers.{i}.attention.q_norm.weight"},
      {"model.layers.{i}.self_attn.k_norm.weight", "layers.{i}.attention.k_norm.weight"},
      {"model.layers.{i}.mlp.gate_proj.weight", "layers.{i}.mlp.gate_up", 0},
      {"model.layers.{i}.mlp.up_proj.weight", "layers.{i}.mlp.gate_up", 1},
      {"model.layers.{i}.mlp.down_proj.weight", "layers.{i}.mlp.down"},
      {"model.layers.{i}.mlp.gate.weight", "layers.{i}.moe.router.weight"},
      {"model.layers.{i}.mlp.experts.{e}.gate_proj.weight", "layers.{i}.moe.experts.gate_up", 0},
      {"model.layers.{i}.mlp.experts.{e}.up_proj.weight", "layers.{i}.moe.experts.gate_up", 1},
      {"model.layers.{i}.mlp.experts.{e}.down_proj.weight", "layers.{i}.moe.experts.down"},
      {"model.layers.{i}.mlp.shared_expert.gate_proj.weight", "layers.{i}.moe.shared.gate_up", 0},
      {"model.layers.{i}.mlp.shared_expert.up_proj.weight", "layers.{i}.moe.shared.gate_up", 1},
      {"model.layers.{i}.mlp.shared_expert.down_proj.weight", "layers.{i}.moe.shared.down"},
      {"model.layers.{i}.mlp.shared_expert_gate.weight", "layers.{i}.moe.shared_gate.weight"},
      {"model.layers.{i}.block_sparse_moe.gate.weight", "layers.{i}.moe.router.weight"},
      {"model.layers.{i}.block_sparse_moe.experts.{e}.w1.weight", "layers.{i}.moe.experts.gate_up", 0},
      {"model.layers.{i}.block_sparse_moe.experts.{e}.w3.weight", "layers.{i}.moe.experts.gate_up", 1},
      {"model.layers.{i}.block_sparse_moe.experts.{e}.w2.weight", "layers.{i}.moe.experts.down"},
  };
  static const std::regex layer_of(R"(layers\.(\d+)\.)"), expert_of(R"(experts\.(\d+)\.)");
  std::smatch layer, expert;
  std::regex_search(hub_name, layer, layer_of);
  std::regex_search(hub_name, expert, expert_of);
  std::string pattern = std::regex_replace(hub_name, layer_of, "layers.{i}.");
  pattern = std::regex_replace(pattern, expert_of, "experts.{e}.");
  for (const Row& row : rows) {
    if (pattern != row.hub) continue;
    Place place{std::regex_replace(row.ours, std::regex(R"(\{i\})"), layer.empty() ? "" : layer[1].str()), {}};
    if (!expert.empty()) place.indices.push_back(std::stoll(expert[1]));
    if (row.part >= 0) place.indices.push_back(row.part);
    return place;
  }
  fail(ExitCode::internal, "no place for {}", hub_name);
}

// The keys that matter to these cases.
inline model::ModelConfig config_of(const nlohmann::json& hub) {
  const auto number = [&](const char* key, auto otherwise) {  // null counts as absent
    return hub.contains(key) && !hub[key].is_null() ? hub[key].get<decltype(otherwise)>() : otherwise;
  };
  const std::string family = hub.at("model_type");
  model::ModelConfig c;
  c.vocab_size = hub.at("vocab_size");
  c.hidden_size = hub.at("hidden_size");
  c.num_layers = hub.at("num_hidden_layers");
  c.max_position = hub.at("max_position_embeddings");
  c.tie_embeddings = hub.at("tie_word_embeddings");
  c.norm.eps = hub.at("rms_norm_eps");
  model::AttentionConfig& a = c.attention;
  a.num_heads = hub.at("num_attention_heads");
  a.num_kv_heads = hub.at("num_key_value_heads");
  a.head_dim = number("head_dim", c.hidden_size / a.num_heads);
  a.bias = number("qkv_bias", false) ? model::AttentionBias::qkv : model::AttentionBias::none;
  a.window = number("use_sliding_window", true) ? number("sliding_window", int64_t{0}) : 0;
  a.rope.theta = hub.at("rope_theta");
  if (family == "olmoe") a.qk_norm = model::QkNorm::full;
  if (family == "qwen3_moe") a.qk_norm = model::QkNorm::head;
  c.mlp.intermediate_size = hub.at("intermediate_size");
  c.moe.num_experts = number("num_experts", number("num_local_experts", int64_t{0}));
  c.moe.top_k = hub.at("num_experts_per_tok");
  c.moe.intermediate_size = number("moe_intermediate_size", c.mlp.intermediate_size);
  c.moe.router.normalize = number("norm_topk_prob", true);
  c.moe.shared.num_experts = 0;
  if (family == "qwen2_moe") c.moe.shared = {1, hub.at("shared_expert_intermediate_size"), moe::SharedGate::sigmoid};
  const auto every = number("decoder_sparse_step", int64_t{1});  // layer i is MoE if every divides i + 1
  c.moe.layers = moe::LayerPattern{every - 1, every, number("mlp_only_layers", std::vector<int64_t>{})};
  return c;
}

class Reference {
 public:
  Reference(const std::string& name, DType dtype)
      : model(config_of(nlohmann::json::parse(file_text(folder(name) / "config.json"))), dtype),
        expected(read_safetensors(folder(name) / "expected.safetensors")) {
    for (const auto& file : std::filesystem::directory_iterator(folder(name)))
      if (file.path().filename().string().starts_with("model") && file.path().extension() == ".safetensors")
        weights.merge(read_safetensors(file.path()));
    for (const auto& [hub_name, tensor] : weights) {
      const Place place = place_of(hub_name);
      Tensor whole = model.value(place.parameter);
      Tensor part = place.part_of(whole);
      check(part.shape() == tensor.shape(), "{} is {}, here {}", hub_name, to_string(tensor.shape()),
            to_string(part.shape()));
      part.copy_from(tensor.to(part.dtype()));
      whole.bump_version();
    }
  }

  TinyModel model;
  std::map<std::string, Tensor> weights, expected;  // by published name

  Tensor tokens_BS() const { return expected.at("input_ids").to(DType::i32); }
  Tensor targets_BS() const {  // i32: the label of the next position, -1 where none counts
    const Tensor& labels = expected.at("labels");
    const auto values = labels.to_vector<int64_t>();
    std::vector<int32_t> targets(values.size(), -1);
    const auto S = static_cast<size_t>(labels.dim(1));
    for (size_t i = 0; i < targets.size(); ++i)
      if (i % S != S - 1 && values[i + 1] >= 0) targets[i] = static_cast<int32_t>(values[i + 1]);
    return Tensor::of(targets, labels.shape());
  }

 private:
  static std::filesystem::path folder(const std::string& name) {
    return std::filesystem::path("tests/model/goldens") / name;  // tests run from the root of the repository
  }
};

}  // namespace switchyard::test
