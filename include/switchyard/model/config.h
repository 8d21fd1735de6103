// The `model` section: a decoder of dense and MoE layers. Keys and defaults are documented in docs/config.md.
#pragma once

#include "switchyard/model/attention_config.h"
#include "switchyard/moe/config.h"
#include "switchyard/nn/layers.h"

#include <optional>
#include <string>

namespace switchyard::model {

enum class Family { generic, llama, mixtral, qwen2_moe, qwen3_moe, olmoe, glm4_moe };
constexpr auto names_of(Family) {
  return config::names("generic", "llama", "mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "glm4_moe");
}
constexpr auto unbuilt_names_of(Family) {
  return config::names("deepseek", "deepseek_v2", "deepseek_v3", "dbrx", "gpt_oss", "grok-1", "arctic", "skywork",
                       "llama_moe", "switch_transformers");
}

using nn::NormKind;

struct NormConfig {
  NormKind kind = NormKind::rms;
  double eps = 1e-6;

  void fields(auto& f) {
    f("kind", kind, "root mean square, or layer norm with bias");
    f("eps", eps, "added to the variance", {.above = 0});
  }
  bool operator==(const NormConfig&) const = default;
};

enum class InitScheme { normal, depth_scaled, fan_in };
constexpr auto names_of(InitScheme) { return config::names("normal", "depth_scaled", "switch"); }

struct InitConfig {
  double std = 0.02;
  InitScheme scheme = InitScheme::normal;

  void fields(auto& f) {
    f("std", std, "standard deviation of initial weights", {.min = 0});
    f("scheme", scheme,
      "depth_scaled: std / sqrt(2 num_layers) on output projections; switch: truncated normal, std sqrt(0.1 / fan_in)");
  }
  bool operator==(const InitConfig&) const = default;
};

struct MlpConfig {
  int64_t intermediate_size = 1024;
  ops::Activation activation = ops::Activation::swiglu;
  bool bias = false;

  void fields(auto& f) {
    f("intermediate_size", intermediate_size, "width of the dense layers' FFN", {.min = 1});
    f("activation", activation, "of the dense layers' FFN");
    f("bias", bias, "biases of both projections of the dense layers' FFN");
  }
  bool operator==(const MlpConfig&) const = default;
};

struct MtpConfig {
  int64_t depth = 0;
  double loss_weight = 0.1;

  void fields(auto& f) {
    f("depth", depth, "multi-token prediction modules", {.min = 0});
    f("loss_weight", loss_weight, "weight of their losses", {.min = 0});
  }
  bool operator==(const MtpConfig&) const = default;
};

// What backward computes again instead of keeping it.
enum class Recompute { none, moe, full };
constexpr auto names_of(Recompute) { return config::names("none", "moe", "full"); }

struct ModelConfig {
  Family family = Family::generic;
  std::optional<std::string> from_hf = {};
  int64_t vocab_size = 0;
  int64_t vocab_multiple = 64;
  int64_t hidden_size = 256;
  int64_t num_layers = 4;
  int64_t max_position = 1024;
  bool tie_embeddings = false;
  NormConfig norm = {};
  InitConfig init = {};
  AttentionConfig attention = {};
  MlpConfig mlp = {};
  moe::MoeConfig moe = {};
  MtpConfig mtp = {};

  void fields(auto& f) {
    f("family", family,
      "generic: any combination of the keys below; or a published family, whose limits are then checked");
    f("from_hf", from_hf, "a config.json to take the whole model section from; the other keys then override");
    f("vocab_size", vocab_size, "0: the tokenizer's size, rounded up to vocab_multiple", {.min = 0});
    f("vocab_multiple", vocab_multiple, "the tokenizer's size is rounded up to a multiple of this", {.min = 1});
    f("hidden_size", hidden_size, "width of the residual stream", {.min = 1});
    f("num_layers", num_layers, "decoder layers", {.min = 1, .max = 10000});
    f("max_position", max_position, "longest sequence that positions exist for", {.min = 1});
    f("tie_embeddings", tie_embeddings, "the output head is the embedding");
    f("norm", norm, "");
    f("init", init, "");
    f("attention", attention, "");
    f("mlp", mlp, "");
    f("moe", moe, "");
    f("mtp", mtp, "", {.unbuilt = "multi-token prediction"});
  }
  bool is_moe(int64_t layer) const { return moe.layers && moe.layers->contains(layer); }
  void validate() const;
  bool operator==(const ModelConfig&) const = default;
};

}  // namespace switchyard::model
