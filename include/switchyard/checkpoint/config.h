// The `checkpoint` section. Keys and defaults: docs/config.md.
#pragma once

#include "switchyard/config/fields.h"

#include <optional>
#include <string>

namespace switchyard::checkpoint {

struct CheckpointConfig {
  int64_t every = 100;
  int64_t keep = 3;
  std::string resume = "auto";
  int64_t max_failures = 0;
  bool async = false;
  std::optional<std::string> init = {};

  void fields(auto& f) {
    f("every", every, "steps between checkpoints; the last step always has one", {.min = 1});
    f("keep", keep, "newest checkpoints that are kept", {.min = 1});
    f("resume", resume,
      "auto: from the run's newest valid checkpoint, if any; never; or the path of a checkpoint to begin from: the "
      "run's later ones are set aside, and the same path then resumes");
    f("max_failures", max_failures, "saves that fail in a row before the run ends with 74; 0: it goes on without",
      {.min = 0});
    f("async", async, "write while training goes on", {.unbuilt = "asynchronous saving"});
    f("init", init, "weights for step 0, from a checkpoint or a Hugging Face folder");
  }
  bool operator==(const CheckpointConfig&) const = default;
};

}  // namespace switchyard::checkpoint
