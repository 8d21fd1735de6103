// The `model.attention` section. Keys and defaults: docs/config.md.
#pragma once

#include "switchyard/model/rope_config.h"

namespace switchyard::model {

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
