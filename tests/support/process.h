// A program run as a user runs it: output caught, signals sent to it or to one of its ranks, and an end after a time
// limit, together with everything it has started. Waiting means looking until something is so, or the limit is over.
#pragma once

#include "tests/support/scratch.h"

#include <array>
#include <chrono>
#include <csignal>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace switchyard::test {

using Command = std::vector<std::string>;
using Environment = std::map<std::string, std::string>;

// Seconds until a test gives up. What it waits for takes a few; of mistakes and failures the time is part of the claim.
constexpr double kPatience = 120;
constexpr double kLimitOfAMistake = 10;         // until a config is refused
constexpr double kLimitOfAnError = 30;          // until an exception, or a dead rank, has ended all ranks
constexpr double kLimitAfterTheWatchdog = 5.0;  // from run.watchdog seconds after a rank has hung until all have ended

// True as soon as `condition` is; false if it is not within the limit.
inline bool wait_until(const std::function<bool()>& condition, double seconds = kPatience) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    usleep(2000);
  }
  return true;
}

struct Outcome {
  int code = -1;  // exit code, or 128 + the signal that ended it
  bool in_time = true;
  std::string out, err;
  std::string text() const { return out + err; }
};

class Process {
 public:
  explicit Process(const Command& command, const Environment& environment = {}) {
    static int count = 0;
    mark_ = fmt::format("SWITCHYARD_TEST_PROCESS={}.{}", getpid(), ++count);
    pid_ = fork();
    check(pid_ >= 0, "fork failed");
    if (pid_ == 0) become(command, environment);
  }
  ~Process() {
    if (!is_over_) wait(0);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void send(int signal) const { kill(pid_, signal); }
  std::string out() const { return scratch_.read("out"); }  // so far
  std::string err() const { return scratch_.read("err"); }

  bool is_over() {
    int status = 0;
    if (is_over_ || waitpid(pid_, &status, WNOHANG) != pid_) return is_over_;
    is_over_ = true;
    code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return true;
  }
  // Until the process has ended; it and all that it has left are killed when the limit is over.
  Outcome wait(double seconds = kPatience) {
    const bool in_time = wait_until([&] { return is_over(); }, seconds);
    for (const pid_t left : family()) kill(left, SIGKILL);
    if (!in_time) wait_until([&] { return is_over(); });
    return {code_, in_time, out(), err()};
  }
  // The rank's process, as soon as mpirun has started it.
  pid_t rank(int number) const {
    const std::string setting = fmt::format("OMPI_COMM_WORLD_RANK={}", number);
    std::vector<pid_t> found;
    check(wait_until([&] { return !(found = find(mark_, setting)).empty(); }), "rank {} never started", number);
    return found.front();
  }
  // The process and those it has started, as long as they live.
  std::vector<pid_t> family() const { return find(mark_); }

 private:
  [[noreturn]] void become(const Command& command, const Environment& environment) const {
    const std::array<int, 3> files{open("/dev/null", O_RDONLY), create("out"), create("err")};
    for (int fd = 0; fd < 3; ++fd) dup2(files[static_cast<size_t>(fd)], fd);
    for (const int signal : {SIGINT, SIGQUIT}) ::signal(signal, SIG_DFL);  // a shell ignores them in its background
    for (const auto& [name, value] : environment) setenv(name.c_str(), value.c_str(), 1);
    putenv(const_cast<char*>(mark_.c_str()));
    std::vector<char*> words;
    for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    execvp(words[0], words.data());
    _exit(127);
  }
  int create(const char* name) const { return open(scratch_.path(name).c_str(), O_WRONLY | O_CREAT | O_APPEND, 0666); }

  // Living processes that were started with both of these in their environment.
  std::vector<pid_t> find(const std::string& a, const std::string& b = "") const {
    std::vector<pid_t> found;
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      const std::string name = entry.path().filename();
      if (name.find_first_not_of("0123456789") != std::string::npos) continue;
      std::ifstream environment(entry.path() / "environ", std::ios::binary);
      std::set<std::string> settings;
      for (std::string setting; std::getline(environment, setting, '\0');) settings.insert(setting);
      const auto has = [&](const std::string& setting) { return settings.contains(setting); };
      if (has(a) && (b.empty() || has(b))) found.push_back(std::stoi(name));
    }
    return found;
  }
  Scratch scratch_;
  std::string mark_;  // in the environment of the process and of what it starts
  pid_t pid_ = -1;
  bool is_over_ = false;
  int code_ = -1;
};

inline Outcome run(const Command& command, const Environment& environment = {}, double seconds = kPatience) {
  return Process(command, environment).wait(seconds);
}

// The command ended by itself with this code, and said every part.
inline void expect_outcome(const Outcome& outcome, int code, const std::vector<std::string>& parts = {}) {
  EXPECT_TRUE(outcome.in_time) << "it did not end by itself";
  EXPECT_EQ(outcome.code, code) << outcome.text();
  for (const std::string& part : parts)
    EXPECT_NE(outcome.text().find(part), std::string::npos) << "no '" << part << "' in: " << outcome.text();
}

}  // namespace switchyard::test
