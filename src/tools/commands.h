// The program's commands, one file each. `add_x` declares the command; when it is the one that was given, it sets
// `action`.
#pragma once

#include "switchyard/base/error.h"
#include "switchyard/comm/group.h"
#include "switchyard/train/experiment.h"

#include <CLI/CLI.hpp>

#include <functional>

namespace switchyard::tools {

struct Program {
  CLI::App app{"Switchyard trains Mixture-of-Experts language models", "switchyard"};
  int* argc;
  char*** argv;
  std::function<ExitCode()> action;

  // All ranks that the launcher started, with the same command line; made on first use, so that commands for one
  // process start no library.
  comm::World& world();
  void leave_world();  // the end of MPI, if it was started
  std::unique_ptr<comm::World> world_;
  int64_t patience = train::RunConfig{}.watchdog;  // seconds that start and end of MPI may take; 0: for ever
};

void print_last_words(const std::string& words);  // of a watchdog: to stderr

// Rank 0 reads the files and meets their errors; every rank parses the same bytes.
train::Experiment read_experiment(const comm::World& world, const std::string& path,
                                  const std::vector<std::string>& overrides, const config::ParseOptions& options = {});

void add_train(Program& program);
void add_eval(Program& program);
void add_generate(Program& program);
void add_data(Program& program);
void add_checkpoint(Program& program);
void add_config(Program& program);
void add_bench(Program& program);

}  // namespace switchyard::tools
