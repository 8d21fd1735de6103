// switchyard verify CONFIG [key=value ...]: one rank against every layout that the ranks at hand allow.
#include "switchyard/base/console.h"
#include "switchyard/base/file.h"
#include "switchyard/base/progress.h"
#include "switchyard/verify/verify.h"
#include "tools/commands.h"

#include <nlohmann/json.hpp>

#include <filesystem>

namespace switchyard::tools {
namespace {

struct VerifyOptions {
  std::string config, scale = "tiny", json, markdown;
  std::vector<std::string> overrides;
  verify::Options verify;
};

// Rank 0 speaks for all; every rank is watched while it works.
ExitCode verify_config(Program& program, VerifyOptions options) {
  comm::World& world = program.world();
  const train::Experiment experiment =
      read_experiment(program, options.config, options.overrides, train::without_run_and_data());
  require(experiment.config.run.device != train::DeviceChoice::cuda, ExitCode::usage,
          "run.device=cuda: verify judges in f64, which is for the CPU: add run.device=cpu; "
          "scripts/gpu-check.sh compares a GPU with it");
  require_folder_of(world, "--json", options.json);
  require_folder_of(world, "--markdown", options.markdown);
  options.verify.is_tiny = options.scale == "tiny";
  train::Watchdog watchdog = program.watchdog();
  std::optional<train::Watchdog::Section> section;
  std::optional<Progress> progress;
  verify::Listener listener;
  listener.begins = [&](const std::string& what, int64_t done, int64_t total) {
    section.reset();
    if (what.empty()) return;
    section.emplace(watchdog, what);
    if (world.rank() == 0 && !progress) progress.emplace("verify", total, Unit::steps);
    if (progress) progress->update(done, what);
  };
  const auto say = [](const std::string& text) { Console::standard().line(text); };
  listener.reference_done = [&](const verify::Part& part) { say(verify::heading_of(part)); };
  listener.compared = [&](const verify::Comparison& comparison) { say(verify::row_of(comparison)); };
  const std::string name = std::filesystem::path(options.config).stem().string();
  const verify::Report report = verify::verify(name, experiment.config, world, options.verify, listener);
  progress.reset();
  if (world.rank() == 0) {
    say(verify::misfits_of(report) + "\n" + verify::verdict_of(report));
    if (!options.json.empty()) replace_file(options.json, verify::json_of(report).dump(2) + "\n");
    if (!options.markdown.empty()) replace_file(options.markdown, verify::markdown_of(report));
  }
  return report.is_equal ? ExitCode::finished : ExitCode::difference;
}

}  // namespace

void add_verify(Program& program) {
  auto options = std::make_shared<VerifyOptions>();
  CLI::App* command = program.app.add_subcommand(
      "verify", "A config on one rank and in every layout of the ranks at hand; exit code 1 if one differs");
  command->add_option("config", options->config, "YAML file of the experiment; run.dir and data may be absent")
      ->required();
  command->add_option("overrides", options->overrides, "key=value, for example model.moe.top_k=4");
  command->add_option("--steps", options->verify.steps, "Training steps of each run")
      ->check(in_range<int64_t>(1))
      ->capture_default_str();
  command
      ->add_option(
          "--scale", options->scale,
          "tiny: two layers of each kind, width 64, sequences of 32, vocabulary 128, all rules kept; full: as is")
      ->check(CLI::IsMember({"tiny", "full"}))
      ->capture_default_str();
  command->add_option(
      "--data", options->verify.data,
      "Prefix of .bin/.idx, or a .safetensors of batches; default: random tokens. Keeps the vocabulary");
  command->add_option("--only", options->verify.only, "Pattern of the layouts to compare, for example '*tp 2*zero 1'");
  command->add_option("--json", options->json, "File for the same numbers as JSON");
  command->add_option("--markdown", options->markdown, "File for the table in Markdown");
  command->callback(
      [&program, options] { program.action = [&program, options] { return verify_config(program, *options); }; });
}

}  // namespace switchyard::tools
