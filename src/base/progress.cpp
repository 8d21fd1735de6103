// The bar and its plain form are functions of a state; Progress adds the clock.
#include "switchyard/base/progress.h"

#include "switchyard/base/units.h"

#include <fmt/format.h>

#include <algorithm>

namespace switchyard {
namespace {

constexpr double kDrawSeconds = 0.1;

std::string amount(double value, Unit unit) {
  return unit == Unit::bytes ? format_bytes(value) : fmt::format("{:.0f}", value);
}

double rate_of(const ProgressState& s) {
  return s.seconds > 0 ? static_cast<double>(s.done - s.done_before) / s.seconds : 0;
}

// "120/600  5.10/s  1:34 left  note"
std::string facts(const ProgressState& s) {
  const double rate = rate_of(s), left = seconds_left(s);
  std::string text = amount(static_cast<double>(s.done), s.unit);
  if (s.total > 0) text += fmt::format("/{}", amount(static_cast<double>(s.total), s.unit));
  if (rate > 0)
    text += s.unit == Unit::bytes ? fmt::format("  {}/s", format_bytes(rate)) : fmt::format("  {:.3g}/s", rate);
  if (left > 0) text += fmt::format("  {} left", format_duration(left));
  if (!s.note.empty()) text += fmt::format("  {}", s.note);
  return text;
}

double share(const ProgressState& s) {
  return s.total > 0 ? std::clamp(static_cast<double>(s.done) / static_cast<double>(s.total), 0.0, 1.0) : 0;
}

}  // namespace

double seconds_left(const ProgressState& s) {
  const double rate = rate_of(s);
  return rate > 0 && s.total > s.done ? static_cast<double>(s.total - s.done) / rate : 0;
}

std::string progress_bar(const ProgressState& state, int width) {
  std::string text = facts(state);
  constexpr int kWidest = 30, kNarrowest = 8;
  const int room = width - static_cast<int>(state.title.size() + text.size()) - 12;
  const int cells = std::min(kWidest, room);
  if (state.total > 0 && cells >= kNarrowest) {
    const int full = static_cast<int>(share(state) * cells);
    std::string bar(static_cast<size_t>(cells), ' ');
    std::fill_n(bar.begin(), full, '=');
    if (full > 0 && full < cells) bar[static_cast<size_t>(full - 1)] = '>';
    text = fmt::format("{} [{}] {:3.0f}%  {}", state.title, bar, 100 * share(state), text);
  } else {
    text = fmt::format("{} {}", state.title, text);
  }
  return text.substr(0, static_cast<size_t>(width));
}

std::string progress_line(const ProgressState& state) {
  const std::string part = state.total > 0 ? fmt::format(" {:.0f}%", 100 * share(state)) : "";
  return fmt::format("{}{}  {}", state.title, part, facts(state));
}

Progress::Progress(std::string title, int64_t total, Unit unit, double log_seconds, int64_t done_before,
                   Console& console)
    : title_(std::move(title)),
      total_(total),
      done_before_(done_before),
      unit_(unit),
      log_seconds_(log_seconds),
      console_(console),
      next_(start_ + std::chrono::duration_cast<Clock::duration>(
                         std::chrono::duration<double>(console.draws_bars() ? 0 : log_seconds))) {}

Progress::~Progress() { console_.end_bar(); }

void Progress::update(int64_t done, std::string_view note) {
  const bool draws = console_.draws_bars();
  if (!draws && log_seconds_ <= 0) return;
  const auto now = Clock::now();
  if (now < next_) return;
  next_ = now + std::chrono::duration_cast<Clock::duration>(
                    std::chrono::duration<double>(draws ? kDrawSeconds : log_seconds_));
  if (draws)
    console_.bar(progress_bar(state(done, note), console_.bar_columns()));
  else
    console_.line(progress_line(state(done, note)));
}

double Progress::seconds_left(int64_t done) const { return switchyard::seconds_left(state(done)); }

ProgressState Progress::state(int64_t done, std::string_view note) const {
  const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  return {title_, done, total_, unit_, seconds, done_before_, note};
}

}  // namespace switchyard
