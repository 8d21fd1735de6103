// switchyard eval WEIGHTS, switchyard generate WEIGHTS
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

struct ModelOptions {
  std::string weights, data, json, prompt, dtype;
  std::vector<std::string> overrides;
  std::vector<int32_t> ids;
  int64_t samples = 0;
  train::SamplingOptions sampling;
};

// Text means something to a model only through the tokenizer that it was trained with.
[[noreturn]] void refuse_text(const convert::WeightSource& source, std::string_view instead) {
  throw SharedError(ExitCode::usage,
                    fmt::format("{}: its tokens are not known to be bytes, and no other tokenizer is built yet; {}",
                                source.name(), instead));
}

ExitCode evaluate_weights(Program& program, const ModelOptions& options) {
  comm::World& world = program.world();
  require_folder_of(world, "--json", options.json);
  auto [source, config] = open_weights(program, options.weights, options.overrides);
  train::Watchdog watchdog = program.watchdog();
  std::optional<train::Watchdog::Section> section(std::in_place, watchdog, "loading");
  if (!options.data.empty()) config.data.valid = {{.path = options.data}};
  if (config.data.valid.empty()) throw SharedError(ExitCode::usage, "the run has no data.valid; give --data PREFIX");
  const bool knows_text = source.speaks_bytes(trains_on_bytes(config));
  if (!knows_text && !config.data.valid.front().is_batch_file())
    refuse_text(source, "give --data FILE.safetensors with input_ids and labels");
  data::Loader loader =
      train::open_data(config, config.data.valid, options.data.empty() ? "data.valid" : "--data", world.all()).loader;
  const DType dtype = options.dtype.empty() ? config.train.dtype : dtype_from_name(options.dtype);
  const train::Compute compute(config.run, dtype, world);
  train::FrozenModel frozen(config, world, dtype, source);
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
  const std::string bits = knows_text ? fmt::format(", {:.6f} bits per byte", result.bits_per_byte) : "";
  const std::string fewer =
      options.samples > result.samples ? fmt::format(" (all that there are; {} were asked for)", options.samples) : "";
  Console::standard().line(fmt::format("{}\n{} samples{}, {} tokens: loss {:.9g}{}", source.name(), result.samples,
                                       fewer, result.loss_tokens, result.loss, bits));
  if (options.json.empty()) return ExitCode::finished;
  metrics::Record record;
  record.add("checkpoint", source.name());
  record.add("step", source.step());
  record.add("samples", result.samples);
  record.add("loss_tokens", result.loss_tokens);
  if (knows_text) record.add("text_bytes", result.text_bytes);
  record.add("loss", result.loss, 17);
  if (knows_text) record.add("bits_per_byte", result.bits_per_byte, 17);
  replace_file(options.json, record.line());
  return ExitCode::finished;
}

ExitCode generate_text(Program& program, const ModelOptions& options) {
  comm::World& world = program.world();
  if (world.size() != 1)
    throw SharedError(ExitCode::usage, fmt::format("generate runs as one process, not on {} ranks", world.size()));
  const auto [source, config] = open_weights(program, options.weights, options.overrides);
  if (options.ids.empty() && !source.speaks_bytes(trains_on_bytes(config))) refuse_text(source, "give --ids");
  train::Watchdog watchdog = program.watchdog();
  std::optional<train::Watchdog::Section> section(std::in_place, watchdog, "loading");
  const DType dtype = options.dtype.empty() ? config.train.dtype : dtype_from_name(options.dtype);
  const train::Compute compute(config.run, dtype, world);
  train::FrozenModel frozen(config, world, dtype, source);
  const auto continued = [&](const std::vector<int32_t>& prompt, std::optional<int32_t> end, const auto& emit) {
    section.emplace(watchdog, "the prompt");
    train::generate(frozen.model, end, prompt, options.sampling, [&](int32_t id) {
      section.emplace(watchdog, "a token");
      emit(id);
    });
    section.reset();
  };
  if (!options.ids.empty()) {
    std::vector<int32_t> ids = options.ids;
    continued(options.ids, std::nullopt, [&](int32_t id) { ids.push_back(id); });
    Console::standard().line(fmt::format("{}", fmt::join(ids, " ")));
    return ExitCode::finished;
  }
  const auto tokenizer = data::make_tokenizer(config.data.tokenizer);
  std::vector<int32_t> prompt;
  tokenizer->encode(options.prompt, prompt);
  if (prompt.empty()) prompt.push_back(tokenizer->end_of_document());  // the start of a new document
  std::string text = options.prompt;
  continued(prompt, tokenizer->end_of_document(), [&](int32_t id) { tokenizer->decode(id, text); });
  // What a model makes up may drive a terminal; a file gets the bytes as they are.
  Console::standard().line(::isatty(STDOUT_FILENO) == 1 ? data::escaped(text) : text);
  return ExitCode::finished;
}

void add_common(CLI::App* command, ModelOptions& options) {
  command->add_option("weights", options.weights, "Folder of a checkpoint, a run (its newest) or a Hugging Face model")
      ->required();
  command->add_option("overrides", options.overrides, "key=value of the run's config, for example parallel.expert=2");
  command->add_option("--dtype", options.dtype, "Compute in this; default: as trained, of a folder bf16")
      ->check(CLI::IsMember({"f32", "bf16", "f64"}));
}

}  // namespace

void add_eval(Program& program) {
  auto options = std::make_shared<ModelOptions>();
  CLI::App* command = program.app.add_subcommand("eval", "Loss and bits per byte of a model on held-out text");
  add_common(command, *options);
  command->add_option("--data", options->data,
                      "Prefix of .bin/.idx, or a .safetensors of ids; default: the run's data.valid");
  command->add_option("--samples", options->samples, "Samples from the start; default: as the run evaluates")
      ->check(in_range<int64_t>(1));
  command->add_option("--json", options->json, "Also write the result to this file");
  command->callback(
      [&program, options] { program.action = [&program, options] { return evaluate_weights(program, *options); }; });
}

void add_generate(Program& program) {
  auto options = std::make_shared<ModelOptions>();
  CLI::App* command = program.app.add_subcommand("generate", "Continue a prompt with text from a model");
  add_common(command, *options);
  CLI::Option* prompt = command->add_option("--prompt", options->prompt, "Text to continue");
  command->add_option("--ids", options->ids, "Token ids to continue, for example 5,17,2; ids are printed")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(in_range<int32_t>(0))
      ->excludes(prompt);
  command->add_option("--max-tokens", options->sampling.max_tokens, "Most tokens to add")
      ->check(in_range<int64_t>(1))
      ->capture_default_str();
  command->add_option("--temperature", options->sampling.temperature, "0: always the likeliest token")
      ->check(in_range(0.0))
      ->capture_default_str();
  command->add_option("--top-p", options->sampling.top_p, "Sample from the likeliest tokens of this total probability")
      ->check(in_range(0.0, 1.0))
      ->capture_default_str();
  command->add_option("--seed", options->sampling.seed, "Same seed, same text")
      ->check(in_range<int64_t>(0))  // an unsigned number alone would wrap
      ->capture_default_str();
  command->callback(
      [&program, options] { program.action = [&program, options] { return generate_text(program, *options); }; });
}

}  // namespace switchyard::tools
