// The program's commands, one file each. `add_x` declares the command; when it is the one that was given, it sets
// `action`.
#pragma once

#include "switchyard/base/console.h"
#include "switchyard/base/error.h"
#include "switchyard/checkpoint/load.h"
#include "switchyard/comm/agree.h"
#include "switchyard/convert/weights.h"
#include "switchyard/train/experiment.h"
#include "switchyard/train/watchdog.h"

#include <CLI/CLI.hpp>

#include <functional>
#include <limits>

namespace switchyard::tools {

struct Program {
  CLI::App app{"Switchyard trains Mixture-of-Experts language models", "switchyard"};
  int* argc;
  char*** argv;
  std::function<ExitCode()> action;

  // All ranks that the launcher started, with the same command line; made on first use, so that commands for one
  // process start no library.
  comm::World& world();
  void leave_world();  // the end of MPI, if it was started
  std::unique_ptr<comm::World> world_;

  // Seconds that a section may take, 0: for ever. The command line's run.watchdog from the start, then the config's;
  // commands without a config take an option.
  int64_t patience = train::RunConfig{}.watchdog;
  void take_patience(CLI::App& command);
  train::Watchdog watchdog() const;  // one that says its last words on stderr
  std::string speaker() const;  // who is talking, before every message: the program, and its rank if there are more
};

// Work in parts, each watched on its own; a terminal shows which one it is.
class Parts {
 public:
  Parts(const Program& program, const std::string& first);
  ~Parts() { end(); }
  Parts(const Parts&) = delete;
  Parts& operator=(const Parts&) = delete;
  std::function<void(const std::string&)> begins() {
    return [this](const std::string& part) { begin(part); };
  }
  void end();  // what follows is not watched: a reader of the results may take his time

 private:
  void begin(const std::string& part);
  train::Watchdog dog_;
  std::optional<train::Watchdog::Section> section_;
  bool shows_;
};

// Refuses a file to be written after long work, if its folder is not there now. Collective; an empty name is none.
void require_folder_of(const comm::World& world, std::string_view option, const std::string& file);

// Rank 0 reads the files and meets their errors; every rank parses the same bytes. Takes the program's patience from
// them.
train::Experiment read_experiment(Program& program, const std::string& path, const std::vector<std::string>& overrides,
                                  const config::ParseOptions& options = {});

// Weights and the experiment that they belong to, in a layout that fits the ranks: all that are left are data ranks,
// unless the overrides say otherwise. `where` is a checkpoint, a run, or a Hugging Face folder. Takes the program's
// patience from the config.
struct Weights {
  convert::WeightSource source;
  train::ExperimentConfig config;
};
Weights open_weights(Program& program, const std::string& where, const std::vector<std::string>& overrides);

// A checkpoint that must be there, and the experiment that made it.
checkpoint::Found find_checkpoint(const std::string& where, const comm::World& world);
train::ExperimentConfig checkpoint_config(const checkpoint::Found& found);
bool trains_on_bytes(const train::ExperimentConfig& config);

// On standard output; a newline at the end of the text is its own.
inline void print(std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  Console::standard().line(text);
}

// What a number of the command line may be, both ends included; a NaN is in no range.
template <class T>
CLI::Validator in_range(T min, T max = std::numeric_limits<T>::max()) {
  const std::string from = min == std::numeric_limits<T>::min() ? "above 0" : fmt::format("at least {}", min);
  const std::string accepted = max == std::numeric_limits<T>::max() ? from : fmt::format("{} to {}", min, max);
  const auto refusal = [=](const std::string& text) {
    T value{};
    const bool fits = CLI::detail::lexical_cast(text, value) && min <= value && value <= max;
    return fits ? std::string() : fmt::format("{}; accepted: {}", text, accepted);
  };
  return {refusal, accepted};
}
inline CLI::Validator above_zero() { return in_range(std::numeric_limits<double>::min()); }

void add_train(Program& program);
void add_eval(Program& program);
void add_generate(Program& program);
void add_data(Program& program);
void add_checkpoint(Program& program);
void add_config(Program& program);
void add_bench(Program& program);
void add_convert(Program& program);
void add_forward(Program& program);
void add_compare(Program& program);
void add_verify(Program& program);

}  // namespace switchyard::tools
