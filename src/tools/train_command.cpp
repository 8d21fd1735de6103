// switchyard train CONFIG [key=value ...]
#include "switchyard/train/resume.h"
#include "switchyard/train/stop.h"
#include "switchyard/train/trainer.h"
#include "tools/commands.h"

#include <charconv>

namespace switchyard::tools {
namespace {

struct TrainOptions {
  std::string config;
  std::vector<std::string> overrides, allowed;
  train::TraceOptions trace;
};

// "FIRST:LAST"
std::optional<std::pair<int64_t, int64_t>> parse_steps(std::string_view text) {
  int64_t first = 0, last = 0;
  const char* const end = text.data() + text.size();
  const auto [colon, error] = std::from_chars(text.data(), end, first);
  if (error != std::errc() || colon == end || *colon != ':') return std::nullopt;
  const auto [rest, other_error] = std::from_chars(colon + 1, end, last);
  if (other_error != std::errc() || rest != end || first < 1 || last < first) return std::nullopt;
  return std::pair(first, last);
}

ExitCode train_with(Program& program, const TrainOptions& options) {
  train::install_stop_handlers();  // before MPI starts: a request that comes now stops the run after its first step
  const train::Experiment experiment = read_experiment(program, options.config, options.overrides);
  return train::run_training(experiment, program.world(), options.allowed, options.trace);
}

}  // namespace

void add_train(Program& program) {
  auto options = std::make_shared<TrainOptions>();
  CLI::App* command = program.app.add_subcommand(
      "train", "Train, or resume, the experiment of a config; start it with mpirun for many ranks");
  command->add_option("config", options->config, "YAML file of the experiment")->required();
  command->add_option("overrides", options->overrides, "key=value, for example train.steps=50");
  command
      ->add_option("--allow-change", options->allowed,
                   fmt::format("Accept, when resuming, a change of: {}", fmt::join(train::kAllowedChanges, ", ")))
      ->check(CLI::IsMember(std::vector<std::string>(train::kAllowedChanges.begin(), train::kAllowedChanges.end())))
      ->delimiter(',')
      ->allow_extra_args(false)  // the config may follow
      ->option_text("NAME,...");
  CLI::Option* trace = command->add_option("--trace", options->trace.file,
                                           "File for a trace of some steps, all ranks in one: for ui.perfetto.dev or "
                                           "chrome://tracing");
  command
      ->add_option_function<std::string>(
          "--trace-steps", [options](const std::string& text) { options->trace.steps = parse_steps(text); },
          "FIRST:LAST, both included; the third to the fifth step of this start if absent")
      ->check([](const std::string& text) {
        return parse_steps(text) ? "" : text + "; accepted: FIRST:LAST, for example 10:12";
      })
      ->needs(trace);
  command->callback(
      [&program, options] { program.action = [&program, options] { return train_with(program, *options); }; });
}

}  // namespace switchyard::tools
