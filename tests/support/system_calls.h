// The system calls of a program, as strace logs them, and a kill or an error that strace injects into one of them. The
// program has one thread, so that its calls have one order.
#pragma once

#include "tests/support/process.h"

namespace switchyard::test {

struct SystemCall {
  std::string name;
  int number = 0;  // of its name, counted from the start of the process
  std::string line;

  bool mentions(std::string_view part) const { return line.find(part) != std::string::npos; }
};

inline bool can_trace() { return run({"strace", "-o", "/dev/null", "true"}).code == 0; }

// The leak checker cannot work under a tracer.
inline Outcome run_traced(const Command& tracer, const Command& command) {
  Command words = tracer;
  words.insert(words.end(), command.begin(), command.end());
  return run(words, {{"ASAN_OPTIONS", "detect_leaks=0"}});
}

inline std::vector<SystemCall> read_calls(std::istream& log) {
  std::vector<SystemCall> calls;
  std::map<std::string, int> seen;
  std::set<std::string> pipe_ends;  // the sanitizers', which probe memory by writing it into a pipe
  for (std::string line; std::getline(log, line);) {
    const std::string name = line.substr(0, line.find('('));
    if (name.empty() || name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") != std::string::npos) continue;
    const int number = ++seen[name];
    const size_t open = line.find('('), end = line.find_first_of(",)", open);
    const std::string first = line.substr(open + 1, end - open - 1);
    if (name == "pipe2") {
      const size_t comma = line.find(", "), close = line.find(']');
      pipe_ends.insert({first.substr(1), line.substr(comma + 2, close - comma - 2)});
      continue;
    }
    if (pipe_ends.contains(first) && (name == "write" || name == "close")) {
      if (name == "close") pipe_ends.erase(first);
      continue;
    }
    calls.push_back({name, number, line});
  }
  return calls;
}

// Of a command that must succeed.
inline std::vector<SystemCall> calls_of(const Command& command) {
  const Scratch scratch;
  const Outcome outcome = run_traced({"strace", "-o", scratch.path("log")}, command);
  check(outcome.code == 0, "exit code {} under strace: {}", outcome.code, outcome.text());
  std::ifstream log(scratch.path("log"));
  return read_calls(log);
}

// `injection` as strace spells it: signal=KILL, error=EIO.
inline Outcome run_with_injection(const SystemCall& call, const std::string& injection, const Command& command) {
  return run_traced({"strace", "-o", "/dev/null", "-e", "trace=" + call.name, "-e",
                     fmt::format("inject={}:{}:when={}", call.name, injection, call.number)},
                    command);
}

}  // namespace switchyard::test
