// switchyard data tokenize | inspect
#include "switchyard/base/threads.h"
#include "switchyard/data/corpus.h"
#include "tools/commands.h"

namespace switchyard::tools {
namespace {

struct DataOptions {
  std::vector<std::string> inputs;
  std::string prefix;
  data::TokenizeOptions tokenize;
  int64_t documents = 3;
};

void add_tokenize(Program& program, CLI::App* command, const std::shared_ptr<DataOptions>& options) {
  CLI::App* sub = command->add_subcommand(
      "tokenize", "Folders, text files and JSONL, also .gz and .zst, to PREFIX.bin and PREFIX.idx");
  sub->add_option("inputs", options->inputs,
                  "Folders and files; JSONL lines are {\"text\": ...}, other keys are ignored")
      ->required();
  sub->add_option("--output", options->tokenize.output, "Prefix of the files to write")->required();
  sub->add_option("--tokenizer", options->tokenize.tokenizer, "byte")->capture_default_str();
  sub->add_option("--held-out", options->tokenize.held_out,
                  "N: every N-th document, by a hash of its name, goes to the held-out pair")
      ->check(in_range<int64_t>(2, int64_t{1} << 40));
  sub->add_option("--held-out-output", options->tokenize.held_out_output,
                  "Prefix of the held-out pair; default: PREFIX-valid");
  sub->add_flag("--skip-bad", options->tokenize.skip_bad, "Leave out JSONL lines that cannot be used, and count them");
  sub->add_option("--zstd-window-log", options->tokenize.limits.zstd_window_log,
                  "Largest window of .zst files; 31 for those made with --long=31")
      ->check(in_range(10, 31))
      ->capture_default_str();
  sub->add_flag("--force", options->tokenize.force, "Write over existing files");
  sub->callback([&program, options] {
    program.action = [options] {
      print(data::tokenize(options->inputs, options->tokenize).text());
      return ExitCode::finished;
    };
  });
}

}  // namespace

void add_data(Program& program) {
  auto options = std::make_shared<DataOptions>();
  CLI::App* command = program.app.add_subcommand("data", "Make token files, and look into them");
  command->require_subcommand(1);
  add_tokenize(program, command, options);
  CLI::App* inspect = command->add_subcommand("inspect", "Counts, lengths and the first documents of a .bin/.idx pair");
  inspect->add_option("prefix", options->prefix, "PREFIX of .bin and .idx")->required();
  inspect->add_option("--tokenizer", options->tokenize.tokenizer, "byte")->capture_default_str();
  inspect->add_option("--documents", options->documents, "Documents to show")
      ->check(in_range<int64_t>(0))
      ->capture_default_str();
  inspect->callback([&program, options] {
    program.action = [options] {
      print(data::inspect(options->prefix, options->tokenize.tokenizer, options->documents));
      return ExitCode::finished;
    };
  });
}

}  // namespace switchyard::tools
