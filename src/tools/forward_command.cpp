// switchyard forward, switchyard compare: what a model computes on given tokens, and how two files of results differ.
#include "switchyard/base/console.h"
#include "switchyard/base/log.h"
#include "switchyard/files/compare.h"
#include "switchyard/train/forward.h"
#include "switchyard/train/startup.h"
#include "tools/commands.h"

namespace switchyard::tools {
namespace {

struct ForwardOptions {
  std::string weights, inputs, out, dtype = "f32";
  std::vector<std::string> overrides;
  train::ForwardOptions forward;
};

ExitCode run_forward(Program& program, ForwardOptions options) {
  comm::World& world = program.world();
  require_folder_of(world, "--out", options.out);
  options.forward.dtype = dtype_from_name(options.dtype);
  const auto [source, config] = open_weights(program, options.weights, options.overrides);
  Parts parts(program, "reading the inputs");
  options.forward.begins = parts.begins();
  std::optional<files::SafetensorsFile> inputs;
  comm::together(world.all(), [&] { inputs.emplace(File::open(options.inputs)); });
  const train::Compute compute(config.run, options.forward.dtype, world);
  const auto results = train::forward(config, world, source, *inputs, options.forward);
  options.forward.begins("writing the results");
  comm::on_rank_zero(world.all(), [&] {
    files::write_safetensors(options.out, results);
    return std::string();
  });
  if (world.rank() == 0) Console::standard().line(fmt::format("{}: {} tensors", options.out, results.size()));
  return ExitCode::finished;
}

}  // namespace

void add_forward(Program& program) {
  auto options = std::make_shared<ForwardOptions>();
  CLI::App* command = program.app.add_subcommand(
      "forward", "Logits, losses, gradients and routing of a checkpoint or Hugging Face folder on given tokens");
  command->add_option("weights", options->weights, "Folder of a checkpoint, a run, or a Hugging Face model")
      ->required();
  command->add_option("overrides", options->overrides, "key=value of the config, for example parallel.expert=2");
  command->add_option("--inputs", options->inputs, "safetensors with input_ids (B, S), optionally labels, prompt_ids")
      ->required();
  command->add_option("--out", options->out, "safetensors file to write")->required();
  command->add_flag("--gradients", options->forward.gradients, "grad.NAME of every weight");
  command->add_flag("--routing", options->forward.routing, "router_logits.i, topk_ids.i, topk_weights.i");
  command->add_flag("--hidden", options->forward.hidden, "hidden.i: the residual stream before layer i");
  command->add_option("--generate", options->forward.generate, "Greedy tokens after prompt_ids")
      ->check(in_range<int64_t>(1));
  command->add_option("--dtype", options->dtype, "Compute in")
      ->check(CLI::IsMember({"f32", "f64", "bf16"}))
      ->capture_default_str();
  command->callback(
      [&program, options] { program.action = [&program, options] { return run_forward(program, *options); }; });
}

void add_compare(Program& program) {
  struct Files {
    std::string a, b;
    std::vector<std::string> only;
    double bound = 0;
  };
  auto files = std::make_shared<Files>();
  CLI::App* command =
      program.app.add_subcommand("compare", "Two safetensors files, tensor by tensor; exit code 1 if they differ");
  command->add_option("a", files->a, "safetensors file")->required();
  command->add_option("b", files->b, "safetensors file, the reference")->required();
  command->add_option("--only", files->only, "Pattern of the names to compare, for example 'grad.*'");
  command->add_option("--bound", files->bound, "Largest difference that counts as equal, over max |b| and over norm(b)")
      ->check(in_range(0.0))
      ->capture_default_str();
  command->callback([&program, files] {
    program.action = [files] {
      const auto result = files::compare(files->a, files->b, files->only, files->bound);
      if (!result.text.empty()) print(result.text);
      return result.is_equal ? ExitCode::finished : ExitCode::difference;
    };
  });
}

}  // namespace switchyard::tools
