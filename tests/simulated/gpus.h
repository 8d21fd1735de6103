// Runs of the program on simulated GPUs (tests/simgpu): it is the same program, and finds other libraries. What the
// simulator finds fault with ends a run with 66.
#pragma once

#include "tests/support/runs.h"

namespace switchyard::test {

inline Environment gpus(int count, const Environment& more = {}) {
  Environment environment{{"LD_LIBRARY_PATH", build_folder() / "simgpu"}, {"SIMGPU_DEVICES", std::to_string(count)}};
  environment.insert(more.begin(), more.end());
  return environment;
}

// Trains configs/tests/sim-tiny.yaml on as many GPUs as ranks.
inline void must_train_on_gpus(int ranks, const Command& overrides, const std::string& dir,
                               const Environment& more = {}) {
  const Train what{"sim-tiny", ranks, overrides + Command{"run.device=cuda"}};
  expect_outcome(train(what, dir, gpus(ranks, more), 10 * kPatience), 0);
}

inline void must_train_on_cpu(int ranks, const Command& overrides, const std::string& dir) {
  must_train({"sim-tiny", ranks, overrides + Command{"run.device=cpu"}}, dir);
}

}  // namespace switchyard::test
