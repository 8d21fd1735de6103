// switchyard eval CHECKPOINT, switchyard generate CHECKPOINT
#include "switchyard/base/file.h"
#include "switchyard/base/log.h"
#include "switchyard/base/progress.h"
#include "switchyard/comm/agree.h"
#include "switchyard/metrics/record.h"
#include "switchyard/train/evaluate.h"
#include "switchyard/train/generate.h"
#include "switchyard/train/session.h"
#include "switchyard/train/startup.h"
#include "tools/commands.h"

#include <unistd.h>

namespace switchyard::tools {
namespace {

struct Options {
  std::string checkpoint, data, json, prompt, dtype;
  std::vector<std::string> overrides;
  int64_t samples = 0;
  train::SamplingOptions sampling;
};

// The experiment that made a checkpoint. Its layout belongs to the run that made it: here every rank that is left is a
// data rank, unless the user says otherwise.
train::ExperimentConfig config_of(const checkpoint::Found& found, const Options& options, const comm::World& world) {
  std::vector<std::string> overrides = any_layout();
  overrides.insert(overrides.end(), options.overrides.begin(), options.overrides.end());
  train::ExperimentConfig config;
  comm::together(world.all(), [&] {
    config = checkpoint_config(found, overrides);
    parallel::check_world(config.parallel, world.size());
  });
  return config;
}

struct Chosen {
  checkpoint::Found found;
  train::ExperimentConfig config;
};

// Takes the program's patience from the config.
Chosen choose(Program& program, const Options& options) {
  const comm::World& world = program.world();
  train::Watchdog watchdog = program.watchdog();
  const train::Watchdog::Section section(watchdog, "finding the checkpoint");
  Chosen chosen{find_checkpoint(options.checkpoint, world), {}};
  chosen.config = config_of(chosen.found, options, world);
  program.patience = chosen.config.run.watchdog;
  return chosen;
}

ExitCode evaluate_checkpoint(Program& program, const Options& options) {
  comm::World& world = program.world();
  auto [found, config] = choose(program, options);
  train::Watchdog watchdog = program.watchdog();
  std::optional<train::Watchdog::Section> section(std::in_place, watchdog, "loading");
  train::set_up_threads(config.run, world);
  if (!options.data.empty()) config.data.valid = {{.path = options.data}};
  if (config.data.valid.empty()) throw SharedError(ExitCode::usage, "the run has no data.valid; give --data PREFIX");
  const data::Loader loader = train::open_data(config, config.data.valid, world.all()).loader;
  const DType dtype = options.dtype.empty() ? config.train.dtype : dtype_from_name(options.dtype);
  train::FrozenModel frozen(config, world, dtype, convert::WeightSource::of(found));
  const int64_t samples = options.samples > 0 ? options.samples : config.eval.batches * config.train.global_batch_size;
  std::optional<Progress> progress;
  if (world.rank() == 0) progress.emplace("eval", std::min(samples, loader.num_samples()), Unit::steps);
  const auto result = train::evaluate(frozen.model, frozen.mesh, loader, samples, config.train.micro_batch_size,
                                      [&](int64_t done, int64_t) {
                                        section.emplace(watchdog, fmt::format("evaluation after {} samples", done));
                                        if (progress) progress->update(done);
                                      });
  progress.reset();
  section.reset();
  if (world.rank() != 0) return ExitCode::finished;
  Console::standard().line(fmt::format("{}\n{} samples, {} tokens: loss {:.9g}, {:.6f} bits per byte",
                                       found.folder.string(), result.samples, result.loss_tokens, result.loss,
                                       result.bits_per_byte));
  if (options.json.empty()) return ExitCode::finished;
  metrics::Record record;
  record.add("checkpoint", found.folder.string());
  record.add("step", found.manifest.meta.step);
  record.add("samples", result.samples);
  record.add("loss_tokens", result.loss_tokens);
  record.add("text_bytes", result.text_bytes);
  record.add("loss", result.loss, 17);
  record.add("bits_per_byte", result.bits_per_byte, 17);
  replace_file(options.json, record.line());
  return ExitCode::finished;
}

ExitCode generate_text(Program& program, const Options& options) {
  comm::World& world = program.world();
  if (world.size() != 1)
    throw SharedError(ExitCode::usage, fmt::format("generate runs as one process, not on {} ranks", world.size()));
  const auto [found, config] = choose(program, options);
  train::Watchdog watchdog = program.watchdog();
  std::optional<train::Watchdog::Section> section(std::in_place, watchdog, "loading");
  train::set_up_threads(config.run, world);
  const DType dtype = options.dtype.empty() ? config.train.dtype : dtype_from_name(options.dtype);
  train::FrozenModel frozen(config, world, dtype, convert::WeightSource::of(found));
  const auto tokenizer = data::make_tokenizer(config.data.tokenizer);
  std::vector<int32_t> prompt;
  tokenizer->encode(options.prompt, prompt);
  if (prompt.empty()) prompt.push_back(tokenizer->end_of_document());  // the start of a new document
  std::string text = options.prompt;
  section.emplace(watchdog, "the prompt");
  train::generate(frozen.model, *tokenizer, prompt, options.sampling, [&](int32_t id) {
    section.emplace(watchdog, "a token");
    tokenizer->decode(id, text);
  });
  section.reset();
  // What a model makes up may drive a terminal; a file gets the bytes as they are.
  Console::standard().line(::isatty(STDOUT_FILENO) == 1 ? data::printable(text) : text);
  return ExitCode::finished;
}

void add_common(CLI::App* command, Options& options) {
  command->add_option("checkpoint", options.checkpoint, "Folder of a checkpoint, or of a run: its newest valid one")
      ->required();
  command->add_option("overrides", options.overrides, "key=value of the run's config, for example parallel.expert=2");
  command->add_option("--dtype", options.dtype, "Compute in f32 or bf16; default: as trained")
      ->check(CLI::IsMember({"f32", "bf16", "f64"}));
}

}  // namespace

void add_eval(Program& program) {
  auto options = std::make_shared<Options>();
  CLI::App* command = program.app.add_subcommand("eval", "Loss and bits per byte of a checkpoint on held-out text");
  add_common(command, *options);
  command->add_option("--data", options->data, "Prefix of .bin/.idx; default: the run's data.valid");
  command->add_option("--samples", options->samples, "Samples from the start; default: as the run evaluates")
      ->check(CLI::PositiveNumber);
  command->add_option("--json", options->json, "Also write the result to this file");
  command->callback(
      [&program, options] { program.action = [&program, options] { return evaluate_checkpoint(program, *options); }; });
}

void add_generate(Program& program) {
  auto options = std::make_shared<Options>();
  CLI::App* command = program.app.add_subcommand("generate", "Continue a prompt with text from a checkpoint");
  add_common(command, *options);
  command->add_option("--prompt", options->prompt, "Text to continue");
  command->add_option("--max-tokens", options->sampling.max_tokens, "Most tokens to add")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--temperature", options->sampling.temperature, "0: always the likeliest token")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--top-p", options->sampling.top_p, "Sample from the likeliest tokens of this total probability")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->add_option("--seed", options->sampling.seed, "Same seed, same text")->capture_default_str();
  command->callback(
      [&program, options] { program.action = [&program, options] { return generate_text(program, *options); }; });
}

}  // namespace switchyard::tools
