// The `model.attention` section. Keys and defaults: docs/config.md.
#pragma once

#include "switchyard/config/fields.h"

namespace switchyard::model {

enum class RopeScalingKind { none, linear, llama3, yarn };
constexpr auto names_of(RopeScalingKind) { return config::names("none", "linear", "llama3", "yarn"); }
constexpr auto unbuilt_names_of(RopeScalingKind) { return config::names("dynamic", "longrope"); }

struct RopeScalingConfig {
  RopeScalingKind kind = RopeScalingKind::none;
  double factor = 1.0;
  int64_t original_max_position = 0;
  double low_freq_factor = 0.0, high_freq_factor = 0.0;
  double beta_fast = 32.0, beta_slow = 1.0;
  double mscale = 0.0, mscale_all_dim = 0.0, attention_factor = 0.0;
  bool truncate = true;

  void fields(auto& f) {
    f("kind", kind, "how rotation is stretched to longer contexts");
    const bool is_scaled = kind != RopeScalingKind::none, is_llama3 = kind == RopeScalingKind::llama3,
               is_yarn = kind == RopeScalingKind::yarn;  // read by now
    const config::Rules of_yarn{.min = 0, .applies = is_yarn, .only_for = "kind yarn"};
    f("factor", factor, "length of the longer contexts over that of the original ones",
      {.min = 1, .required = true, .applies = is_scaled, .only_for = "kinds linear, llama3 and yarn"});
    f("original_max_position", original_max_position, "length of the original contexts",
      {.min = 1, .required = true, .applies = is_llama3 || is_yarn, .only_for = "kinds llama3 and yarn"});
    f("low_freq_factor", low_freq_factor,
      "pairs that turn less often than this in an original context are slowed by factor",
      {.above = 0, .required = true, .applies = is_llama3, .only_for = "kind llama3"});
    f("high_freq_factor", high_freq_factor, "pairs that turn more often stay as they are",
      {.above = 0, .required = true, .applies = is_llama3, .only_for = "kind llama3"});
    f("beta_fast", beta_fast, "pairs that turn more often than this in an original context stay as they are",
      {.above = 0, .applies = is_yarn, .only_for = "kind yarn"});
    f("beta_slow", beta_slow, "pairs that turn less often are slowed by factor",
      {.above = 0, .applies = is_yarn, .only_for = "kind yarn"});
    f("mscale", mscale, "with mscale_all_dim, both above 0: attention_factor is the ratio of 0.1 m ln(factor) + 1",
      of_yarn);
    f("mscale_all_dim", mscale_all_dim, "see mscale", of_yarn);
    f("attention_factor", attention_factor, "multiplies q and k where they rotate; 0: 0.1 ln(factor) + 1", of_yarn);
    f("truncate", truncate, "whole pairs bound the blend between slowed and not", of_yarn);
  }
  void validate() const;
  bool operator==(const RopeScalingConfig&) const = default;
};

struct RopeConfig {
  double theta = 10000.0;
  double fraction = 1.0;
  RopeScalingConfig scaling = {};

  void fields(auto& f) {
    f("theta", theta, "base of the rotation frequencies", {.above = 0});
    f("fraction", fraction, "leading fraction of a head that rotates; dims j and j + r/2 pair", {.min = 0, .max = 1});
    f("scaling", scaling, "");
  }
  int64_t rotary_dim(int64_t head_dim) const {  // dims of a head that rotate
    return static_cast<int64_t>(fraction * static_cast<double>(head_dim));
  }
  void validate() const;
  bool operator==(const RopeConfig&) const = default;
};

struct MlaConfig {
  int64_t q_rank = 192, kv_rank = 128, nope_dim = 64, rope_dim = 32, v_dim = 64;

  void fields(auto& f) {
    f("q_rank", q_rank, "rank of the query projection", {.min = 0});
    f("kv_rank", kv_rank, "rank of the joint key and value projection", {.min = 1});
    f("nope_dim", nope_dim, "dims of a head without rotation", {.min = 1});
    f("rope_dim", rope_dim, "dims of a head with rotation", {.min = 1});
    f("v_dim", v_dim, "dims of a value head", {.min = 1});
  }
  bool operator==(const MlaConfig&) const = default;
};

enum class AttentionKind { gqa };
constexpr auto names_of(AttentionKind) { return config::names("gqa"); }
constexpr auto unbuilt_names_of(AttentionKind) { return config::names("mla"); }

enum class QkNorm { none, head, full };
constexpr auto names_of(QkNorm) { return config::names("none", "head", "full"); }

enum class AttentionBias { none, qkv, all };
constexpr auto names_of(AttentionBias) { return config::names("none", "qkv", "all"); }

struct AttentionConfig {
  AttentionKind kind = AttentionKind::gqa;
  int64_t num_heads = 4;
  int64_t num_kv_heads = 2;
  int64_t head_dim = 64;
  QkNorm qk_norm = QkNorm::none;
  AttentionBias bias = AttentionBias::none;
  double clip_qkv = 0.0;
  int64_t window = 0;
  bool sinks = false;
  double soft_cap = 0.0;
  RopeConfig rope = {};
  MlaConfig mla = {};

  void fields(auto& f) {
    f("kind", kind, "grouped queries, or multi-head latent attention");
    f("num_heads", num_heads, "query heads", {.min = 1});
    f("num_kv_heads", num_kv_heads, "key and value heads; divides num_heads", {.min = 1});
    f("head_dim", head_dim, "dims of a head; even", {.min = 2});
    f("qk_norm", qk_norm,
      "norm of queries and keys: per head, or full (over all heads at once, before they are split)");
    f("bias", bias, "biases of the projections; all: of the output projection too");
    f("clip_qkv", clip_qkv, "q, k and v are clamped to +- this before rope, after a full qk norm; 0: off", {.min = 0});
    f("window", window, "query i sees keys i - window < j <= i, in every layer; 0: all before it", {.min = 0});
    f("sinks", sinks, "one learned logit per head that takes part in the softmax and has no value");
    f("soft_cap", soft_cap, "scores s become c tanh(s / c) with c = soft_cap; 0: off", {.min = 0});
    f("rope", rope, "");
    f("mla", mla, "", {.unbuilt = "multi-head latent attention"});
  }
  void validate() const;
  bool operator==(const AttentionConfig&) const = default;
};

}  // namespace switchyard::model
