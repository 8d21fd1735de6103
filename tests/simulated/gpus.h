// Runs of the program on simulated GPUs (tests/simgpu): it is the same program, and finds other libraries. What the
// simulator finds fault with ends a run with 66. With SWITCHYARD_GENUINE_GPUS (scripts/gpu-check.sh) the runs are on
// the machine's own GPUs, and tests that ask the simulator something are skipped.
#pragma once

#include "tests/support/runs.h"

#include <cuda_runtime_api.h>

namespace switchyard::test {

inline bool is_simulated() { return std::getenv("SWITCHYARD_GENUINE_GPUS") == nullptr; }

inline int gpus_there() {
  int count = 0;
  if (is_simulated()) return 8;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

#define SKIP_UNLESS_SIMULATED() \
  if (!is_simulated()) GTEST_SKIP() << "asks something of the simulator"
#define SKIP_UNLESS_GPUS(count) \
  if (gpus_there() < (count)) GTEST_SKIP() << "this machine has " << gpus_there() << " GPUs, the test needs " << (count)

// An environment in which a machine has that many GPUs.
inline Environment gpus(int count, const Environment& more = {}) {
  Environment environment{{"LD_LIBRARY_PATH", build_folder() / "simgpu"}, {"SIMGPU_DEVICES", std::to_string(count)}};
  if (!is_simulated()) {
    std::string visible;
    for (int i = 0; i < count; ++i) visible += fmt::format("{}{}", i == 0 ? "" : ",", i);
    environment = {{"CUDA_VISIBLE_DEVICES", visible}};
  }
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
