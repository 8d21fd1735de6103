// Errors carry the exit code of their class (architecture: exit codes); `check` throws one with the caller's line.
#pragma once

#include <fmt/format.h>

#include <source_location>
#include <stdexcept>
#include <string>

namespace switchyard {

enum class ExitCode : int {
  finished = 0,
  difference = 1,  // verify, compare, checkpoint diff
  usage = 64,      // command line or config
  input = 65,      // bad input file
  internal = 70,   // our own mistake, or a failed library
  io = 74,         // input/output, disk full
  stopped = 75,    // stopped on request; resume
  watchdog = 76,
  not_finite = 77,
  hardware = 78,  // wrong arithmetic suspected
};

class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

// One that every rank throws at the same place: they can end in order, and one of them speaks for all.
class SharedError : public Error {
 public:
  using Error::Error;
};

ExitCode code_of(const std::exception& error);  // of an Error its own; io for one of the file system, else internal

template <class... Args>
[[noreturn]] void fail(ExitCode code, fmt::format_string<Args...> text, Args&&... args) {
  throw Error(code, fmt::format(text, std::forward<Args>(args)...));
}

// A format string that remembers where it was written, so that `check` can name the caller's line.
template <class... Args>
struct LocatedFormat {
  fmt::format_string<Args...> text;
  std::source_location where;
  template <class S>
  consteval LocatedFormat(const S& s, std::source_location w = std::source_location::current()) : text(s), where(w) {}
};

[[noreturn]] void fail_check(const std::source_location& where, const std::string& message);

// Our own and callers' preconditions: throws Error(internal) with file and line. Text is built only on failure.
template <class... Args>
void check(bool condition, LocatedFormat<std::type_identity_t<Args>...> format, Args&&... args) {
  if (!condition) [[unlikely]]
    fail_check(format.where, fmt::format(format.text, std::forward<Args>(args)...));
}

// User input: throws Error(code) without a source line; the message itself names file, key, value and remedy.
template <class... Args>
void require(bool condition, ExitCode code, fmt::format_string<Args...> text, Args&&... args) {
  if (!condition) [[unlikely]]
    throw Error(code, fmt::format(text, std::forward<Args>(args)...));
}

}  // namespace switchyard
