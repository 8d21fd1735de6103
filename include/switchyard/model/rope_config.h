// The `model.attention.rope` section. Keys and defaults: docs/config.md.
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

}  // namespace switchyard::model
