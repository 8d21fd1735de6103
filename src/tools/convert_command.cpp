// switchyard convert from-hf | to-hf | --table FAMILY
#include "switchyard/base/console.h"
#include "switchyard/base/log.h"
#include "switchyard/base/units.h"
#include "switchyard/convert/convert.h"
#include "tools/commands.h"

#include <charconv>

namespace switchyard::tools {
namespace {

struct ConvertOptions {
  std::string in, out, dtype, shard_size = "5GB", family, table;
  std::vector<std::string> unused;
  bool check = false, keep_carried = false;
};

model::Family family_named(const std::string& name) {
  const auto names = names_of(model::Family{});
  for (size_t i = 1; i < names.size(); ++i)
    if (names[i] == name) return static_cast<model::Family>(i);
  fail(ExitCode::usage, "family '{}' is not known; accepted: {}", name,
       fmt::join(names.begin() + 1, names.end(), ", "));
}

// 5GB, 500MB, 20000KB or plain bytes; powers of 1000 as in transformers.
int64_t bytes_of(const std::string& text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string unit(end, text.data() + text.size());
  const int64_t factor = unit == "GB" ? 1'000'000'000 : unit == "MB" ? 1'000'000 : unit == "KB" ? 1000 : unit.empty();
  int64_t bytes = 0;
  require(error == std::errc() && factor > 0 && number > 0 && !__builtin_mul_overflow(number, factor, &bytes),
          ExitCode::usage, "--shard-size {}; accepted: for example 5GB, 500MB, or bytes", text);
  return bytes;
}

void report(const comm::World& world, const convert::Summary& summary, const ConvertOptions& options) {
  if (world.rank() != 0) return;
  for (const std::string& note : summary.notes) Console::standard().line(note);
  Console::standard().line(fmt::format("{}: {} tensors, {}{}", options.out, summary.tensors,
                                       format_bytes(static_cast<double>(summary.bytes)),
                                       options.check ? "; read back, every hash matches" : ""));
}

ExitCode from_hf(Program& program, const ConvertOptions& options) {
  comm::World& world = program.world();
  Parts tensors(program, "the conversion");  // a large model takes longer than any part may
  const auto summary =
      convert::from_hf(options.in, options.out, {options.unused, options.check, tensors.begins()}, world.all());
  report(world, summary, options);
  return ExitCode::finished;
}

// Where layers of multi-token prediction are as they came.
convert::WeightSource untrained_source(const checkpoint::Found& found, const train::ExperimentConfig& config,
                                       const comm::World& world) {
  if (found.manifest.meta.step == 0) return convert::WeightSource(found);
  const auto& init = config.checkpoint.init;
  if (!init)
    throw SharedError(ExitCode::usage, found.folder.string() +
                                           ": its run had no checkpoint.init, from which --keep-carried takes layers "
                                           "of multi-token prediction; leave the flag out");
  return convert::WeightSource::find(*init, world.all(), {}, checkpoint::Proof::as_read);
}

ExitCode to_hf(Program& program, const ConvertOptions& options) {
  comm::World& world = program.world();
  Parts tensors(program, "the conversion");  // a large model takes longer than any part may
  const checkpoint::Found found = find_checkpoint(options.in, world);
  convert::ToHfOptions how{.unused = options.unused, .check = options.check, .begins = tensors.begins()};
  train::ExperimentConfig config;
  comm::together(world.all(), [&] {
    config = checkpoint_config(found);
    if (!options.dtype.empty()) how.dtype = dtype_from_name(options.dtype);
    if (!options.family.empty()) how.family = family_named(options.family);
    how.shard_bytes = bytes_of(options.shard_size);
  });
  how.trained_dtype = config.train.dtype;
  how.trained_on_bytes = trains_on_bytes(config);
  if (options.keep_carried) how.carried_from = untrained_source(found, config, world);
  report(world, convert::to_hf(found, config.model, options.out, how, world.all()), options);
  return ExitCode::finished;
}

void add_common(CLI::App* command, ConvertOptions& options) {
  command->add_option("--allow-unused", options.unused, "Pattern of what may be dropped; it is named in the log");
  command->add_flag("--check", options.check, "Read the result back and compare hashes");
}

}  // namespace

void add_convert(Program& program) {
  auto options = std::make_shared<ConvertOptions>();
  CLI::App* command = program.app.add_subcommand("convert", "Hugging Face folders to checkpoints, and back");
  command->require_subcommand(0, 1);
  command->add_option("--table", options->table, "Print how keys and tensors of a family are mapped");
  command->callback([&program, options, command] {
    if (!command->get_subcommands().empty()) return;
    program.action = [options] {
      require(!options->table.empty(), ExitCode::usage, "convert: give from-hf, to-hf or --table FAMILY");
      print(model::family_table(family_named(options->table)));
      return ExitCode::finished;
    };
  });

  CLI::App* in = command->add_subcommand("from-hf", "A folder as transformers saves it becomes a checkpoint of step 0");
  in->add_option("folder", options->in, "Folder with config.json and safetensors")->required();
  in->add_option("out", options->out, "Checkpoint to make; absent or empty")->required();
  add_common(in, *options);
  program.take_patience(*in);
  in->callback([&program, options] { program.action = [&program, options] { return from_hf(program, *options); }; });

  CLI::App* out = command->add_subcommand("to-hf", "A checkpoint becomes a folder that transformers loads");
  out->add_option("checkpoint", options->in, "Folder of a checkpoint, or of a run: its newest one")->required();
  out->add_option("out", options->out, "Folder to make; absent or empty")->required();
  out->add_option("--dtype", options->dtype, "f32, bf16 or f16; default: as imported, else as trained")
      ->check(CLI::IsMember({"f32", "bf16", "f16"}));
  out->add_option("--shard-size", options->shard_size, "Largest file")->capture_default_str();
  out->add_option("--family", options->family, "Family to write a generic model as");
  out->add_flag("--keep-carried", options->keep_carried,
                "Keep layers of multi-token prediction that training has made stale");
  add_common(out, *options);
  program.take_patience(*out);
  out->callback([&program, options] { program.action = [&program, options] { return to_hf(program, *options); }; });
}

}  // namespace switchyard::tools
