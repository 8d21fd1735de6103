// Progress of long work: a bar on a terminal, now and then a plain line in a log.
//   Progress progress("tokenize", total_bytes, Unit::bytes);
//   progress.update(done_bytes, "3,210 documents");
#pragma once

#include "switchyard/base/console.h"

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace switchyard {

enum class Unit { bytes, steps };

// What to show after `seconds`: at most `width` columns. `total` 0: not known.
struct ProgressState {
  std::string_view title;
  int64_t done = 0, total = 0;
  Unit unit = Unit::steps;
  double seconds = 0;
  int64_t done_before = 0;  // done when the clock started: a resumed run's rate leaves it out
  std::string_view note = {};
};
double seconds_left(const ProgressState& state);  // at the rate so far; 0 where nothing is left or known
std::string progress_bar(const ProgressState& state, int width);
std::string progress_line(const ProgressState& state);  // the same facts without a bar, for a log

class Progress {
 public:
  // In a log, a line every `log_seconds`; 0: none, for work that prints lines of its own.
  Progress(std::string title, int64_t total, Unit unit, double log_seconds = 10, int64_t done_before = 0,
           Console& console = Console::standard());
  ~Progress();  // takes the bar away
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void update(int64_t done, std::string_view note = {});  // cheap: draws at most ten times a second
  double seconds_left(int64_t done) const;

 private:
  using Clock = std::chrono::steady_clock;
  ProgressState state(int64_t done, std::string_view note = {}) const;
  std::string title_;
  int64_t total_, done_before_;
  Unit unit_;
  double log_seconds_;
  Console& console_;
  Clock::time_point start_ = Clock::now(), next_;
};

}  // namespace switchyard
