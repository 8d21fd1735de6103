// The `model.moe.router` section. Keys and defaults: docs/config.md.
#pragma once

#include "kernels/router.h"
#include "switchyard/config/fields.h"

namespace switchyard::kernels {

constexpr auto names_of(Score) { return config::names("softmax", "sigmoid"); }
constexpr auto names_of(GroupScore) { return config::names("max", "top2_sum"); }
constexpr auto names_of(GroupMask) { return config::names("neg_inf", "zero"); }

}  // namespace switchyard::kernels

namespace switchyard::moe {

using kernels::GroupMask;
using kernels::GroupScore;
enum class TieTo { none, rank, node };
constexpr auto names_of(TieTo) { return config::names("none", "rank", "node"); }

// A token chooses from the best groups only. Rules against the experts: MoeConfig::validate.
struct GroupsConfig {
  int64_t count = 1;
  int64_t keep = 1;
  GroupScore score = GroupScore::max;
  GroupMask mask = GroupMask::neg_inf;
  TieTo tie_to = TieTo::none;

  void fields(auto& f) {
    f("count", count, "groups of consecutive experts; 0: taken from the map", {.min = 0});
    f("keep", keep, "groups a token may choose experts from", {.min = 1});
    f("score", score, "score of a group, on score + bias: its best expert, or the sum of exactly two best");
    f("mask", mask, "what experts of other groups score");
    f("tie_to", tie_to, "rank, node: the groups must be those of the real map");
  }
  kernels::ExpertGroups of_experts() const { return {count, keep, score, mask}; }
  bool operator==(const GroupsConfig&) const = default;
};

enum class RouterKind { top_k };
constexpr auto names_of(RouterKind) { return config::names("top_k"); }
constexpr auto unbuilt_names_of(RouterKind) {
  return config::names("dense", "noisy_top_k", "expert_choice", "sinkhorn", "hash", "random");
}
using RouterScore = kernels::Score;
enum class ScoreOrder { before, after };
constexpr auto names_of(ScoreOrder) { return config::names("before", "after"); }

struct RouterConfig {
  RouterKind kind = RouterKind::top_k;
  RouterScore score = RouterScore::softmax;
  ScoreOrder score_order = ScoreOrder::before;
  bool normalize = true;
  double scale = 1.0;
  bool selection_bias = false;
  GroupsConfig groups = {};
  double jitter = 0.0;
  DType dtype = DType::f32;

  void fields(auto& f) {
    f("kind", kind, "how experts are chosen");
    f("score", score, "what router logits become");
    f("score_order", score_order, "softmax before or after the selection");
    f("normalize", normalize, "divide the selected weights by their sum");
    f("scale", scale, "routed scaling factor", {.above = 0});
    f("selection_bias", selection_bias, "f32 buffer added to scores for selection only; implied by balance kind bias");
    f("groups", groups, "");
    f("jitter", jitter, "router input times uniform(1 - jitter, 1 + jitter)",
      {.min = 0, .max = 1, .unbuilt = "router jitter"});
    f("dtype", dtype, "of logits and scores (f64 models: always f64)", {.unbuilt = "a router dtype other than f32"});
  }
  void validate() const;
  bool operator==(const RouterConfig&) const = default;
};

}  // namespace switchyard::moe
