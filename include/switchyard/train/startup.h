// What a run settles and says before its first step.
#pragma once

#include "switchyard/data/loader.h"
#include "switchyard/train/compute.h"
#include "switchyard/train/experiment.h"
#include "switchyard/train/session.h"

namespace switchyard::train {

struct Data {
  data::Loader loader;
  std::string fingerprint;
};

// The sources of a key, data.train or data.valid. Collective: every rank opens the files for itself, an error is that
// of all, and Error(input) if they do not find the same.
Data open_data(const ExperimentConfig& config, const std::vector<data::SourceConfig>& sources, std::string_view key,
               const comm::Group& all);

// Lines about the model, the layout, the device and the batch: parameters in all and per token, tokens per step.
std::string describe_run(const ExperimentConfig& config, Session& session, const Compute& compute);

// The room that the run's folder has, and what a checkpoint takes. Collective.
struct Disk {
  int64_t free_bytes = 0, checkpoint_bytes = 0;
  int64_t num_to_come = 0;  // checkpoints that will be there beside those that are
  bool is_short() const { return free_bytes < num_to_come * checkpoint_bytes; }
  std::string describe() const;
};
// `saves`: how many there will be at most; checkpoint.keep stay, and an old one until the new one is there.
Disk disk_of(const std::string& run_dir, Session& session, int64_t saves);

}  // namespace switchyard::train
