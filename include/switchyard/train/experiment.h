// An experiment as a user gives it: files and overrides in, a checked ExperimentConfig and its documentation out.
#pragma once

#include "switchyard/comm/world.h"
#include "switchyard/config/parse.h"
#include "switchyard/train/config.h"

namespace switchyard::train {

struct Experiment {
  ExperimentConfig config;
  config::Origins origins;       // dotted key -> "file:line" or "override"; absent: default
  std::string resolved() const;  // YAML with every key, its value and where it came from; parses to the same config
};

// The files of an experiment: the config, what it includes, and the config.json of `model.from_hf`.
config::Sources read_experiment_sources(const std::string& path, const std::vector<std::string>& overrides);

// Parses and checks; vocab_size 0 becomes the tokenizer's size. On many ranks: rank 0 calls read_experiment_sources,
// all parse the same packed bytes. Throws Error(usage) that lists every problem.
Experiment parse_experiment(const config::Sources& sources, const std::vector<std::string>& overrides = {},
                            const config::ParseOptions& options = {});

// Makes the nodes of the world those of the config, refuses mesh, batch and tied groups that do not fit the ranks, and
// fills in the number of groups that is left to the machine. Throws Error(usage); every rank comes to the same.
void fit_to_world(ExperimentConfig& config, comm::World& world);
void fit_to_world(Experiment& experiment, comm::World& world);  // and notes where a number came from

// For commands that neither train nor write a run's folder, for example bench.
inline config::ParseOptions without_run_and_data() { return {.may_be_absent = {"run.dir", "data.train"}}; }

std::string config_docs();      // docs/config.md
std::string config_schema();    // JSON Schema
std::string config_families();  // the accepted values of model.family

}  // namespace switchyard::train
