// The training step on random tokens: forward, backward, clipping and AdamW, timed by op.
#pragma once

#include "switchyard/bench/roof.h"
#include "switchyard/device/allocator.h"
#include "switchyard/train/expected_memory.h"

#include <functional>

namespace switchyard::bench {

struct OpTime {
  std::string name;
  double forward_seconds = 0, backward_seconds = 0;  // per step
  double calls = 0;                                  // per step
  double seconds() const { return forward_seconds + backward_seconds; }
};

// Rates are those of all ranks together; times by op are of rank 0; memory is of the rank that needs most; counts are
// summed over ranks and timed steps.
struct StepReport {
  std::string config;
  DType dtype = DType::f32;
  int threads = 1, ranks = 1;
  int64_t tokens = 0;                // of one step
  std::vector<double> step_seconds;  // of every timed step, ascending
  double flops_per_token = 0;
  std::vector<OpTime> ops;  // most expensive first
  BytesByPurpose peak_by_purpose{};
  int64_t peak_memory_bytes = 0;    // live bytes of our allocator
  int64_t peak_resident_bytes = 0;  // of the process
  train::ExpectedMemory expected;
  int64_t kernels_compiled = 0, system_allocations = 0, minor_faults = 0;
  int64_t kernels_compiled_before = 0;  // in warm-up
  double loss = 0;                      // of the last step
  Roof roof;

  double median_seconds() const;  // of which rates are
  double mean_seconds() const;    // of which shares are, as the times of ops are means too
  double tokens_per_second() const { return static_cast<double>(tokens) / median_seconds(); }
  double gflops() const { return tokens_per_second() * flops_per_token / 1e9; }
  double roof_share() const;
  double share_of(const OpTime& op) const;  // of the time of the timed steps
  double attributed_share() const;          // the sum of the shares of all ops
};

struct StepOptions {
  int64_t warm_up = 3, steps = 10;
  double roof_seconds = 0.2;                            // for each row of the roof; 0: none is measured
  std::function<void(const std::string&)> begins = {};  // called with the name of each step, and row of the roof
};

// Collective. `name` is what the report calls the config.
StepReport measure_step(const std::string& name, const train::ExperimentConfig& config, comm::World& world,
                        const StepOptions& options);

std::string table_of(const StepReport& report);
nlohmann::ordered_json json_of(const StepReport& report);

}  // namespace switchyard::bench
