// A whole run: set up, train, evaluate, save, stop. Called by every rank.
#pragma once

#include "switchyard/comm/world.h"
#include "switchyard/train/experiment.h"
#include "switchyard/train/trace.h"

namespace switchyard::train {

// Returns finished, stopped (a stop was requested: resume), not_finite (train.max_bad_steps in a row, or the last step)
// or io (checkpoint.max_failures in a row could not be saved, or the last one). The verdict file says the same.
// `allowed`: see resume.h.
ExitCode run_training(const Experiment& experiment, comm::World& world, const std::vector<std::string>& allowed,
                      const TraceOptions& trace = {});

}  // namespace switchyard::train
