// The program: declares the commands, runs the one that was given, turns errors into one message and an exit code.
#include "switchyard/base/console.h"
#include "switchyard/base/version.h"
#include "tools/commands.h"
#include "tools/help.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <csignal>

#include <malloc.h>

namespace {

using namespace switchyard;

// What every rank has met rank 0 says, and all leave in order. Anything else may have hit one rank only, and the others
// would wait for it: the job is aborted.
int report(const tools::Program& program, const std::exception& error) {
  const int code = static_cast<int>(code_of(error));
  const comm::World* world = program.world_.get();
  const bool is_shared = !world || world->size() == 1 || dynamic_cast<const SharedError*>(&error) != nullptr;
  if (!is_shared || !world || world->rank() == 0)
    Console::standard().warning(fmt::format("{}: {}", program.speaker(), error.what()));
  if (!is_shared) world->abort(code);
  return code;
}

// Tensors have an allocator of their own; what is left to the C library's heap are small blocks of the graph and of
// oneDNN. The heap grows in steps that a warm-up covers and gives nothing back between training steps. (Setting any of
// these stops glibc from moving the others, so all three are set.)
void keep_heap() {
  mallopt(M_TOP_PAD, 16 << 20);
  mallopt(M_TRIM_THRESHOLD, 512 << 20);
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
}

// What is wrong with a command line that CLI11 refuses; a word that should be a command is its own case, as CLI11
// speaks of arguments there.
std::string refusal(const CLI::App& app, const CLI::ParseError& error, int argc, char** argv) {
  const CLI::App* at = &app;
  std::string path = "switchyard";
  for (int i = 1; i < argc && argv[i][0] != '-'; ++i) {
    const auto commands = at->get_subcommands([](const CLI::App* a) { return !a->get_name().empty(); });  // no groups
    if (commands.empty()) break;
    const std::string word = argv[i];
    const auto found = std::ranges::find(commands, word, &CLI::App::get_name);
    if (found == commands.end()) {
      std::vector<std::string> names;
      for (const CLI::App* command : commands) names.push_back(command->get_name());
      return fmt::format("there is no command '{} {}'; there are: {}", path, word, fmt::join(names, ", "));
    }
    at = *found;
    path += " " + word;
  }
  return fmt::format("{}; see {} --help", error.what(), path);
}

// Ranks have one command line, so one of them says what is wrong with it.
std::function<ExitCode()> refusal_by_rank_zero(tools::Program& program, const std::string& text) {
  return [&program, text]() -> ExitCode {
    program.world();
    throw SharedError(ExitCode::usage, text);
  };
}

}  // namespace

int main(int argc, char** argv) {
  keep_heap();
  std::signal(SIGXFSZ, SIG_IGN);  // a file-size limit is an error to report, from the first write on
  tools::Program program{.argc = &argc, .argv = &argv, .action = {}, .world_ = {}};
  program.app.set_version_flag("--version", [] { return "switchyard " + program_details() + "\n"; });
  program.app.require_subcommand(0, 1);
  program.app.formatter(std::make_shared<tools::HelpFormatter>());
  for (const auto add : {tools::add_train, tools::add_eval, tools::add_generate, tools::add_data, tools::add_checkpoint,
                         tools::add_config, tools::add_bench, tools::add_convert, tools::add_forward,
                         tools::add_compare, tools::add_verify})
    add(program);
  try {
    program.app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return program.app.exit(error);  // help or version
    program.action = refusal_by_rank_zero(program, refusal(program.app, error, argc, argv));
  }
  if (!program.action)
    program.action = [&program] {
      if (program.world().rank() == 0) Console::standard().warning(program.app.help());
      return ExitCode::usage;
    };
  int code = 0;
  try {
    code = static_cast<int>(program.action());
  } catch (const std::exception& error) {
    code = report(program, error);
  }
  program.leave_world();
  return code;
}
