// switchyard train CONFIG [key=value ...]
#include "switchyard/train/resume.h"
#include "switchyard/train/stop.h"
#include "switchyard/train/trainer.h"
#include "tools/commands.h"

namespace switchyard::tools {
namespace {

struct Options {
  std::string config;
  std::vector<std::string> overrides, allowed;
};

ExitCode train_with(Program& program, const Options& options) {
  train::install_stop_handlers();  // before MPI starts: a request that comes now stops the run after its first step
  const train::Experiment experiment = read_experiment(program, options.config, options.overrides);
  return train::run_training(experiment, program.world(), options.allowed);
}

}  // namespace

void add_train(Program& program) {
  auto options = std::make_shared<Options>();
  CLI::App* command = program.app.add_subcommand(
      "train", "Train, or resume, the experiment of a config; start it with mpirun for many ranks");
  command->add_option("config", options->config, "YAML file of the experiment")->required();
  command->add_option("overrides", options->overrides, "key=value, for example train.steps=50");
  command
      ->add_option("--allow-change", options->allowed,
                   fmt::format("Accept, when resuming, a change of: {}", fmt::join(train::kAllowedChanges, ", ")))
      ->check(CLI::IsMember(std::vector<std::string>(train::kAllowedChanges.begin(), train::kAllowedChanges.end())));
  command->callback(
      [&program, options] { program.action = [&program, options] { return train_with(program, *options); }; });
}

}  // namespace switchyard::tools
