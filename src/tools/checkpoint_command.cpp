// switchyard checkpoint show | verify | diff
#include "switchyard/checkpoint/inspect.h"
#include "tools/commands.h"

namespace switchyard::tools {
namespace {

ExitCode tell(const checkpoint::Report& report) {
  print(report.text);
  return report.code;
}

}  // namespace

void add_checkpoint(Program& program) {
  struct Options {
    std::string a, b;
    bool tensors = false;
    checkpoint::DiffOptions diff;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = program.app.add_subcommand("checkpoint", "Look into checkpoints, prove them whole, compare two");
  command->require_subcommand(1);
  const char* where = "Folder of a checkpoint, or of a run: its newest one";
  CLI::App* show = command->add_subcommand("show", "What a checkpoint holds");
  show->add_option("checkpoint", options->a, where)->required();
  show->add_flag("--tensors", options->tensors, "Name every tensor, with dtype, shape and slices");
  show->callback([&program, options] {
    program.action = [options] { return tell(checkpoint::show(options->a, options->tensors)); };
  });
  CLI::App* verify = command->add_subcommand("verify", "Read every byte and check its hash");
  verify->add_option("checkpoint", options->a, "Folder of a checkpoint, or of a run: all of its checkpoints")
      ->required();
  verify->callback(
      [&program, options] { program.action = [options] { return tell(checkpoint::verify(options->a)); }; });
  CLI::App* diff = command->add_subcommand(
      "diff", "Compare two checkpoints, whatever layouts wrote them; exit code 1 if they differ");
  diff->add_option("a", options->a, where)->required();
  diff->add_option("b", options->b, where)->required();
  diff->add_option("--only", options->diff.only, "Pattern of the names to compare, for example 'optimizer/exp_avg/*'");
  diff->add_option("--bound", options->diff.bound, "Largest norm(a-b)/norm(b) that counts as equal")
      ->check(in_range(0.0))
      ->capture_default_str();
  diff->callback([&program, options] {
    program.action = [options] { return tell(checkpoint::diff(options->a, options->b, options->diff)); };
  });
}

}  // namespace switchyard::tools
