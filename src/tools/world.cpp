// Ranks of the launcher, and what they must have in common: one command line, one experiment.
#include "switchyard/base/console.h"
#include "switchyard/base/log.h"
#include "switchyard/base/version.h"
#include "switchyard/comm/agree.h"
#include "tools/commands.h"

#include <fmt/ranges.h>

#include <charconv>
#include <filesystem>

namespace switchyard::tools {
namespace {

// What is no number is refused later, with the config.
int64_t patience_on_command_line(const std::vector<std::string>& words, int64_t otherwise) {
  constexpr std::string_view kKey = "run.watchdog=";
  for (const std::string& word : words)
    if (word.starts_with(kKey)) std::from_chars(word.data() + kKey.size(), word.data() + word.size(), otherwise);
  return otherwise;
}

void warn(const std::string& text) { log()->warn("{}", text); }

}  // namespace

comm::World& Program::world() {
  if (world_) return *world_;
  const std::vector<std::string> words(*argv + 1, *argv + *argc);  // as given: MPI may change it
  patience = patience_on_command_line(words, patience);
  {
    train::Watchdog dog = watchdog();
    const train::Watchdog::Section section(dog, "the start of MPI");
    world_ = std::make_unique<comm::World>(comm::World::mpi(argc, argv));
  }
  train::Watchdog dog = watchdog();
  const train::Watchdog::Section section(dog, "comparing the programs and their command lines");
  comm::require_same(world_->all(), ExitCode::usage, "the program", program_version());
  comm::require_same(world_->all(), ExitCode::usage, "the command line", fmt::format("{}", fmt::join(words, " ")));
  return *world_;
}

// Ending MPI waits for every rank.
void Program::leave_world() {
  if (!world_) return;
  train::Watchdog dog = watchdog();
  const train::Watchdog::Section section(dog, "the end of MPI");
  world_.reset();
}

train::Watchdog Program::watchdog() const {
  return train::Watchdog(static_cast<double>(patience), [who = speaker()](const std::string& words) {
    Console::standard().warning(fmt::format("{}: {}", who, words));
  });
}

void Program::take_patience(CLI::App& command) {
  command
      .add_option("--watchdog", patience, "Seconds that a part of the work may take before the job ends; 0: any time")
      ->check(in_range<int64_t>(0))
      ->capture_default_str();
}

Parts::Parts(const Program& program, const std::string& first)
    : dog_(program.watchdog()), shows_(!program.world_ || program.world_->rank() == 0) {
  begin(first);
}

void Parts::begin(const std::string& part) {
  section_.emplace(dog_, part);
  if (shows_) Console::standard().bar(part);
}

void Parts::end() {
  section_.reset();
  if (shows_) Console::standard().end_bar();
}

void require_folder_of(const comm::World& world, std::string_view option, const std::string& file) {
  if (file.empty()) return;
  comm::on_rank_zero(world.all(), [&] {
    const auto folder = std::filesystem::absolute(file).parent_path();
    require(std::filesystem::is_directory(folder), ExitCode::usage, "{} {}: there is no folder {}", option, file,
            folder.string());
    return std::string();
  });
}

std::string Program::speaker() const {
  if (!world_ || world_->size() == 1) return "switchyard";
  return fmt::format("[rank {}] switchyard", world_->rank());
}

train::Experiment read_experiment(Program& program, const std::string& path, const std::vector<std::string>& overrides,
                                  const config::ParseOptions& options) {
  const comm::World& world = program.world();
  train::Watchdog watchdog = program.watchdog();
  const train::Watchdog::Section section(watchdog, "reading the config");
  train::Experiment experiment;
  const std::string packed = comm::on_rank_zero(world.all(), [&] {
    const config::Sources sources = train::read_experiment_sources(path, overrides);
    experiment = train::parse_experiment(sources, overrides, options);
    return sources.pack();
  });
  if (world.rank() != 0) experiment = train::parse_experiment(config::Sources::unpack(packed), overrides, options);
  program.patience = experiment.config.run.watchdog;
  return experiment;
}

checkpoint::Found find_checkpoint(const std::string& where, const comm::World& world) {
  auto found = checkpoint::find(where, world.all(), warn, checkpoint::Proof::as_read);
  if (found) return std::move(*found);
  const std::string kind = comm::on_rank_zero(world.all(), [&] {
    return std::string(
        convert::is_hub_folder(where)
            ? "a Hugging Face folder, and no checkpoint; `switchyard convert from-hf` makes one of it"
            : "no checkpoint there; accepted: the folder of a checkpoint, or of a run that has saved one");
  });
  throw SharedError(ExitCode::input, fmt::format("{}: {}", where, kind));
}

train::ExperimentConfig checkpoint_config(const checkpoint::Found& found) {
  const auto sources = config::Sources::of_text((found.folder / "manifest").string(), found.manifest.meta.config);
  return train::parse_experiment(sources, {}, train::without_run_and_data()).config;
}

bool trains_on_bytes(const train::ExperimentConfig& config) {
  return config.data.trains_on_text() && config.data.tokenizer == "byte";
}

Weights open_weights(Program& program, const std::string& where, const std::vector<std::string>& overrides) {
  comm::World& world = program.world();
  train::Watchdog watchdog = program.watchdog();
  const train::Watchdog::Section section(watchdog, "finding the weights");
  Weights weights{convert::WeightSource::find(where, world.all(), warn), {}};
  std::vector<std::string> all_overrides{"run.device=auto",
                                         "parallel.data=0",
                                         "parallel.tensor=1",
                                         "parallel.expert=1",
                                         "parallel.expert_tensor=1",
                                         "parallel.dispatcher=auto",
                                         "model.moe.router.groups.tie_to=none"};
  all_overrides.insert(all_overrides.end(), overrides.begin(), overrides.end());
  comm::together(world.all(), [&] {
    const auto sources = config::Sources::of_text(weights.source.name(), weights.source.config_text());
    weights.config = train::parse_experiment(sources, all_overrides, train::without_run_and_data()).config;
    parallel::check_world(weights.config.parallel, world.size());
    world.set_ranks_per_node(weights.config.parallel.ranks_per_node);
  });
  program.patience = weights.config.run.watchdog;
  return weights;
}

}  // namespace switchyard::tools
