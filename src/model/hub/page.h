// How a family's page is written: rules for the keys of config.json, rows for its tensors.
#pragma once

#include "switchyard/model/family.h"

#include <nlohmann/json.hpp>

#include <functional>

namespace switchyard::model::hub {

// What a rule reads from and writes to. Keys of `ours` are dotted, relative to the model section.
struct Reading {
  const HubJson& json;
  config::Node& ours;
  const std::string& path;  // of config.json
  std::vector<std::string>& problems;

  const HubJson* find(std::string_view key) const;  // null for a key that is absent or null
  int64_t integer(std::string_view key, int64_t otherwise) const;
  void set(std::string_view key, config::Node value, std::string_view from) const;
};
struct Writing {
  const config::Node& ours;
  HubJson& json;

  const config::Node& at(std::string_view key) const;  // a null node if there is none
  int64_t integer(std::string_view key) const;
};

struct ConfigRule {
  std::vector<std::string> keys = {};  // of config.json that it reads; the first is written
  std::string ours = {};               // what they become, for people
  std::function<void(const Reading&)> read = {};
  std::function<void(const Writing&)> write = {};
};
using ConfigRules = std::vector<ConfigRule>;

config::Node node_of(const HubJson& value);
HubJson json_of(const config::Node& value);

inline constexpr std::string_view kRequired{};
// The same value; `fallback` is the JSON of an absent key.
ConfigRule same(std::string_view key, std::string_view ours, std::string_view fallback = kRequired,
                std::string_view alias = {});
ConfigRule zero_if_null(std::string_view key, std::string_view ours);  // null: the feature is off
ConfigRule choice(std::string_view key, std::string_view ours, std::string_view if_false, std::string_view if_true,
                  bool fallback);
ConfigRule fixed(std::string_view key, std::string_view value);    // no effect at this value, and refused at others
ConfigRule harmless(std::vector<std::string> keys);                // no effect on what a model computes
ConfigRule always(std::string_view ours, std::string_view value);  // true of the family, without a key
ConfigRule head_dim();                                             // absent: hidden_size / num_attention_heads
ConfigRule even_heads();             // head_dim is always hidden_size / num_attention_heads
ConfigRule kv_heads();               // absent: num_attention_heads
ConfigRule full_attention_layers();  // layer_types
ConfigRule sparse_layers();          // decoder_sparse_step, mlp_only_layers
ConfigRule first_dense_layers();     // first_k_dense_replace
ConfigRule shared_experts();         // n_shared_experts x moe_intermediate_size
ConfigRule expert_groups();          // n_group, topk_group
ConfigRule mtp_depth();              // num_nextn_predict_layers
ConfigRule rope(double theta, double fraction, bool is_partial);  // values of absent keys
ConfigRules common_rules();                                       // sizes, and keys without effect

// One row: names with {i} for the layer and {e} for the expert, which is the first index of ours; then `part`, unless
// it is -1: 0 gate, 1 up.
struct TensorRow {
  std::string_view hub, ours;
  int64_t part = -1;
};
using TensorRows = std::vector<TensorRow>;

TensorRows trunk_rows();  // embedding, norms, attention, head
TensorRows qkv_bias_rows();
TensorRows out_bias_rows();
TensorRows qk_norm_rows();
TensorRows dense_rows();  // mlp.{gate,up,down}_proj
TensorRows dense_bias_rows();
TensorRows expert_rows();        // mlp.gate, mlp.experts.{e}.{gate,up,down}_proj
TensorRows fused_expert_rows();  // mlp.experts.{gate_up,down}_proj

struct FamilyPage {
  Family family = Family::generic;
  std::string_view architecture, about;
  ConfigRules config = {};
  TensorRows tensors = {};
  TensorRows fused = {};     // other names on reading
  bool carries_mtp = false;  // layers of multi-token prediction behind the last one
};

FamilyPage llama();
FamilyPage mixtral();
FamilyPage qwen2_moe();
FamilyPage qwen3_moe();
FamilyPage olmoe();
FamilyPage glm4_moe();
const FamilyPage& page_of(Family family);
const std::vector<FamilyPage>& pages();

template <class T>
std::vector<T> operator+(std::vector<T> a, const std::vector<T>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

}  // namespace switchyard::model::hub
