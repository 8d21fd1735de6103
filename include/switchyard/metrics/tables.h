// What a run prints for people: one line per logged step, and the table of memory by purpose.
#pragma once

#include "switchyard/device/allocator.h"

#include <cstdint>
#include <optional>
#include <string>

namespace switchyard::metrics {

struct StepLine {
  int64_t step = 0, steps = 0;
  double loss = 0, lr = 0, grad_norm = 0, tokens_per_second = 0;
  double load = 0;      // most loaded expert over the mean, mean over layers; 0: no MoE layer
  int loss_digits = 9;  // significant; 17 for f64
  double seconds_left = 0;
};
std::string step_line(const StepLine& s);  // at most 100 columns; the time that is left where it fits

// Live and peak bytes of each purpose, and their sum, below a heading; beside them what a step is expected to take.
std::string memory_table(const Allocator& allocator, std::string_view title,
                         const std::optional<BytesByPurpose>& expected = {});

}  // namespace switchyard::metrics
