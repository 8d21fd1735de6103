// Ranks of the launcher, and what they must have in common: one command line, one experiment.
#include "switchyard/comm/agree.h"
#include "switchyard/train/watchdog.h"
#include "tools/commands.h"

namespace switchyard::tools {

comm::World& Program::world() {
  if (world_) return *world_;
  const std::string words = fmt::format("{}", fmt::join(*argv + 1, *argv + *argc, " "));  // as given: MPI may change it
  train::Watchdog watchdog(static_cast<double>(patience), print_last_words);
  const train::Watchdog::Section section(watchdog, "the start of MPI");
  world_ = std::make_unique<comm::World>(comm::World::mpi(argc, argv));
  comm::require_same(world_->all(), ExitCode::usage, "the command line", words);
  return *world_;
}

// Ending MPI waits for every rank.
void Program::leave_world() {
  if (!world_) return;
  train::Watchdog watchdog(static_cast<double>(patience), print_last_words);
  const train::Watchdog::Section section(watchdog, "the end of MPI");
  world_.reset();
}

void print_last_words(const std::string& words) { fmt::print(stderr, "switchyard: {}\n", words); }

train::Experiment read_experiment(const comm::World& world, const std::string& path,
                                  const std::vector<std::string>& overrides, const config::ParseOptions& options) {
  train::Experiment experiment;
  const std::string packed = comm::on_rank_zero(world.all(), [&] {
    const config::Sources sources = config::read_sources(path);
    experiment = train::parse_experiment(sources, overrides, options);
    return sources.pack();
  });
  if (world.rank() != 0) experiment = train::parse_experiment(config::Sources::unpack(packed), overrides, options);
  return experiment;
}

}  // namespace switchyard::tools
