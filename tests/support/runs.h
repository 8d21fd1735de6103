// The program of this build tree, on a small corpus made once: commands for it, alone or on ranks, and what a run has
// left in its folder.
#pragma once

#include "tests/support/process.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <thread>

namespace switchyard::test {

namespace fs = std::filesystem;
using Json = nlohmann::json;

inline fs::path build_folder() { return fs::read_symlink("/proc/self/exe").parent_path(); }
inline std::string program() { return build_folder() / "switchyard"; }

// Stops the rank: the watchdog must end it and all others in time.
inline void expect_end_by_watchdog(Process& process, pid_t rank, double watchdog,
                                   const std::vector<std::string>& parts) {
  kill(rank, SIGSTOP);
  const auto has_ended = [&] { return process.is_over() && process.family().empty(); };
  EXPECT_TRUE(wait_until(has_ended, watchdog + kLimitAfterTheWatchdog)) << "processes are left";
  expect_outcome(process.wait(0), 76, parts);
}

// A file of the source tree: below the current folder, or above the build folder.
inline std::string source_file(const fs::path& file) {
  if (fs::exists(file)) return file;
  for (fs::path folder = build_folder(); folder != folder.root_path(); folder = folder.parent_path())
    if (fs::exists(folder / file)) return folder / file;
  fail(ExitCode::io, "{} is neither below the current folder nor above {}", file.string(), build_folder().string());
}
inline std::string config_file(const std::string& name) { return source_file("configs/tests/" + name + ".yaml"); }

inline Command operator+(Command a, const Command& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

inline Command mpirun() {
  setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
  setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
  return {"mpirun"};
}

// `command` on ranks of this machine; one rank needs no launcher. Ranks that share a core give way while they wait.
inline Command on_ranks(int ranks, const Command& command) {
  if (ranks == 1) return command;
  Command launcher = mpirun() + Command{"-n", std::to_string(ranks), "--bind-to", "none"};
  if (ranks > static_cast<int>(std::thread::hardware_concurrency()))
    launcher = launcher + Command{"--oversubscribe", "--mca", "mpi_yield_when_idle", "1"};
  return launcher + command;
}

// `switchyard verify` of a config of configs/tests on ranks.
inline Command verify(int ranks, const std::string& config, const Command& words) {
  return on_ranks(ranks, Command{program(), "verify", config_file(config)} + words);
}

// One rank for each command, in order.
inline Command as_ranks(const std::vector<Command>& commands) {
  Command launcher = mpirun();
  for (const Command& command : commands) {
    if (launcher.size() > 1) launcher.push_back(":");
    launcher = launcher + Command{"-n", "1", "--bind-to", "none"} + command;
  }
  return launcher;
}

// Documents of a few words from a small vocabulary: a model of any size learns from them within a few steps.
inline void write_documents(const Scratch& folder, int documents) {
  const std::array<const char*, 12> words{"the",    "router", "sends", "token", "to",   "an",
                                          "expert", "of",     "rank",  "and",   "back", "switch"};
  uint64_t state = 1;
  for (int d = 0; d < documents; ++d) {
    std::string text;
    for (int w = 0; w < 150; ++w) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      text += fmt::format("{}{}", w == 0 ? "" : " ", words[(state >> 33) % words.size()]);
    }
    folder.write(fmt::format("text/{:02}.txt", d), text + ".\n");
  }
}

struct Corpus {
  Corpus() {
    write_documents(scratch, 40);
    const Outcome made =
        run({program(), "data", "tokenize", scratch.path("text"), "--output", train, "--held-out", "8"});
    check(made.code == 0, "the corpus could not be made: {}", made.text());
  }
  Scratch scratch;
  std::string train = scratch.path("corpus"), valid = scratch.path("corpus-valid");  // prefixes
};
inline const Corpus& corpus() {
  static const Corpus made;
  return made;
}

// switchyard train, on the corpus unless an override says otherwise.
struct Train {
  std::string config = "tiny";
  int ranks = 1;
  Command overrides = {};
  Command command(const std::string& dir) const {
    const Command own{program(),
                      "train",
                      config_file(config),
                      "run.dir=" + dir,
                      fmt::format("data.train=[{{path: '{}'}}]", corpus().train),
                      fmt::format("data.valid=[{{path: '{}'}}]", corpus().valid)};
    return on_ranks(ranks, own + overrides);
  }
  Train with(const Command& more) const { return {config, ranks, overrides + more}; }
};

inline Outcome train(const Train& what, const std::string& dir, const Environment& environment = {},
                     double seconds = kPatience) {
  return run(what.command(dir), environment, seconds);
}
// The same, where the training is to finish.
inline void must_train(const Train& what, const std::string& dir) { expect_outcome(train(what, dir), 0); }

inline std::string read_text(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

// The records of metrics.jsonl; a last line that is being written is left out.
inline std::vector<Json> metrics_of(const std::string& dir) {
  std::vector<Json> records;
  std::istringstream lines(read_text(fs::path(dir) / "metrics.jsonl"));
  for (std::string line; std::getline(lines, line) && !lines.eof();) records.push_back(Json::parse(line));
  return records;
}
inline int64_t last_step(const std::string& dir) {
  const auto records = metrics_of(dir);
  return records.empty() ? 0 : records.back().at("step").get<int64_t>();
}

// Steps of the checkpoints that are complete, ascending.
inline std::vector<int64_t> saved_steps(const std::string& dir) {
  std::vector<int64_t> steps;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(fs::path(dir) / "checkpoints", none)) {
    const std::string name = entry.path().filename();
    if (name.starts_with("step-") && name.size() == 13) steps.push_back(std::stoll(name.substr(5)));
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}
inline std::string checkpoint_of(const std::string& dir, int64_t step) {
  return fmt::format("{}/checkpoints/step-{:08}", dir, step);
}

inline int count_of(const std::string& text, std::string_view part) {
  int count = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++count;
  return count;
}
// The program says what is wrong once, however many ranks have met it.
inline void expect_one_message(const Outcome& outcome) {
  EXPECT_EQ(count_of(outcome.err, "switchyard: "), 1) << outcome.err;
}

// A folder with what ranks of the program load from where it lies.
inline void copy_mpi_library_to(const fs::path& folder) {
  const std::string name = "libswitchyard_mpi.so";
  fs::copy_file(build_folder() / name, folder / name, fs::copy_options::overwrite_existing);
}

// The program as a user who may not read and write everywhere, on ranks; empty where this user cannot become another.
// The build folder need not be one that everybody may enter, so the program is a copy in `scratch`.
inline Command as_another_user(const Scratch& scratch, int ranks, const Command& words) {
  if (getuid() != 0) return on_ranks(ranks, Command{program()} + words);
  const std::string folder = scratch.path(""), copy = scratch.path("switchyard");
  const Command other{"env", "-C", folder, "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"};
  fs::copy_file(program(), copy, fs::copy_options::overwrite_existing);
  copy_mpi_library_to(folder);
  for (const auto& path : {folder, copy, scratch.path("libswitchyard_mpi.so")})
    fs::permissions(path, fs::perms::others_read | fs::perms::others_exec, fs::perm_options::add);
  if (run(other + Command{"true"}).code != 0) return {};
  return other + on_ranks(ranks, Command{copy} + words);
}

// Empty while the run goes on, and after one that was killed.
inline Json verdict_of(const std::string& dir) {
  return Json::parse(read_text(fs::path(dir) / "verdict.json"), nullptr, false);
}
inline void expect_verdict(const std::string& dir, const std::string& verdict, int64_t last_step) {
  const Json json = verdict_of(dir);
  ASSERT_TRUE(json.is_object()) << dir << " has no verdict";
  EXPECT_EQ(json.at("verdict"), verdict);
  EXPECT_EQ(json.at("last_committed_step"), last_step);
  EXPECT_FALSE(json.at("reason").get<std::string>().empty());
}

// Every number of a record that does not depend on time, on memory, or on whether the run was to end here.
inline Json content_of(Json record) {
  for (const char* key : {"step_seconds", "tokens_per_second", "memory_bytes", "eval/loss", "eval/bits_per_byte"})
    record.erase(key);
  return record;
}
// Both runs have records of the same steps, in the digits that are printed.
inline void expect_same_metrics(const std::string& dir_a, const std::string& dir_b) {
  const auto a = metrics_of(dir_a), b = metrics_of(dir_b);
  ASSERT_FALSE(a.empty()) << dir_a << " has no metrics";
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) ASSERT_EQ(content_of(a[i]), content_of(b[i]));
  EXPECT_EQ(a.back().value("eval/loss", 0.0), b.back().value("eval/loss", 0.0));
}
// No byte of the checkpoints differs.
inline void expect_same_checkpoint(const std::string& a, const std::string& b) {
  expect_outcome(run({program(), "checkpoint", "diff", a, b}), 0);
}

// Largest |a - b| / |b| of `key` over the records of both runs, which must be of the same steps.
inline double largest_difference(const std::vector<Json>& a, const std::vector<Json>& b, const std::string& key) {
  check(a.size() == b.size() && !a.empty(), "runs of {} and {} steps", a.size(), b.size());
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double x = a[i].at(key), y = b[i].at(key);
    largest = std::max(largest, std::abs(x - y) / std::abs(y));
  }
  return largest;
}

}  // namespace switchyard::test
