// The `metrics` section. Keys and defaults: docs/config.md.
#pragma once

#include "switchyard/config/fields.h"

namespace switchyard::metrics {

struct MetricsConfig {
  int64_t every = 1;
  bool tensorboard = false;
  bool expert_load = true;

  void fields(auto& f) {
    f("every", every, "steps between two lines of metrics.jsonl", {.min = 1});
    f("tensorboard", tensorboard, "also write event files", {.unbuilt = "writing of event files"});
    f("expert_load", expert_load, "keys load/, routing/ and bias/ of every MoE layer");
  }
  bool operator==(const MetricsConfig&) const = default;
};

}  // namespace switchyard::metrics
