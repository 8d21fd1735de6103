// A folder as Hugging Face has it, small, whose config and tensors a test can change before it is written.
#pragma once

#include "switchyard/convert/convert.h"
#include "tests/support/compare.h"
#include "tests/support/scratch.h"

#include <nlohmann/json.hpp>

namespace switchyard::test {

// One dense layer, one of 2 experts with a shared one; sigmoid scores with a selection bias.
constexpr const char* kTinyGlm = R"({"architectures": ["Glm4MoeForCausalLM"], "model_type": "glm4_moe",
  "torch_dtype": "float32", "vocab_size": 12, "hidden_size": 8, "intermediate_size": 10, "moe_intermediate_size": 4,
  "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4, "n_routed_experts": 2,
  "n_shared_experts": 1, "num_experts_per_tok": 1, "n_group": 1, "topk_group": 1, "norm_topk_prob": true,
  "routed_scaling_factor": 1.5, "first_k_dense_replace": 1, "use_qk_norm": false, "attention_bias": false,
  "partial_rotary_factor": 0.5, "max_position_embeddings": 16, "num_nextn_predict_layers": 1})";

struct TinyFolder {
  explicit TinyFolder(const Scratch& scratch_folder, const std::string& name = "folder")
      : scratch(scratch_folder), folder(name), json(model::HubJson::parse(kTinyGlm)) {
    for (const model::HubTensor& tensor : model::hub_tensors(config(), config().family))
      tensors[tensor.name] = random_tensor(tensor.shape, DType::f32, tensor.name);
  }
  model::ModelConfig config() const {
    model::HubJson hub = model::parse_hub_config(json.dump(), "config.json");
    return model::model_config_of(hub, "config.json");
  }
  // The layer of multi-token prediction behind the last one.
  void add_carried() {
    const model::CarriedTensors carried = model::carried_tensors(config(), json);
    for (const auto& [name, shape] : carried.required) tensors[name] = random_tensor(shape, DType::bf16, name);
  }
  std::string write() const {
    scratch.write(folder + "/config.json", json.dump());
    for (const auto& [name, bytes] : files) scratch.write(folder + "/" + name, bytes);
    files::write_safetensors(scratch.path(folder + "/model.safetensors"), tensors);
    return scratch.path(folder);
  }

  const Scratch& scratch;
  std::string folder;
  model::HubJson json;
  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> files;
};

inline checkpoint::Found found_in(const std::string& folder) {
  auto found = checkpoint::find(folder, comm::Group());
  check(found.has_value(), "{}: no checkpoint", folder);
  return std::move(*found);
}

inline bool has_note(const std::vector<std::string>& notes, std::string_view part) {
  return std::ranges::any_of(notes, [&](const std::string& note) { return note.find(part) != std::string::npos; });
}

// Names of what a scratch folder holds, files aside included.
inline std::vector<std::string> names_in(const Scratch& scratch) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(scratch.path("")))
    names.push_back(entry.path().filename());
  std::ranges::sort(names);
  return names;
}

}  // namespace switchyard::test
