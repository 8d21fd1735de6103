// Lines above a bar: the bar is taken away, the line written, the bar drawn again.
#include "switchyard/base/console.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include <sys/ioctl.h>
#include <unistd.h>

namespace switchyard {
namespace {

constexpr std::string_view kClearLine = "\r\x1b[K";

bool is_terminal(int descriptor) {
  const char* kind = std::getenv("TERM");
  return ::isatty(descriptor) == 1 && !(kind && std::string_view(kind) == "dumb");
}

void write_ignoring_failure(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const auto written = ::write(descriptor, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    text.remove_prefix(static_cast<size_t>(written));
  }
}

}  // namespace

Console::Console(int out, int err) : out_(out), err_(err), draws_bars_(is_terminal(err)) {}

Console& Console::standard() {
  static Console console(STDOUT_FILENO, STDERR_FILENO);
  return console;
}

void Console::put(int descriptor, std::string_view text) {
  const std::lock_guard lock(mutex_);
  if (!bar_.empty()) write_ignoring_failure(err_, kClearLine);
  write_ignoring_failure(descriptor, std::string(text) + "\n");
  if (!bar_.empty()) write_ignoring_failure(err_, visible_bar());
}

std::string_view Console::visible_bar() const {
  return std::string_view(bar_).substr(0, static_cast<size_t>(bar_columns()));
}

int Console::bar_columns() const {
  constexpr int kUsual = 80;  // of a terminal that does not say
  winsize size{};
  const bool is_known = ::ioctl(err_, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return std::min(kTerminalColumns, (is_known ? size.ws_col : kUsual) - 1);
}

void Console::line(std::string_view text) { put(out_, text); }

void Console::warning(std::string_view text) { put(err_, text); }

void Console::bar(std::string_view text) {
  if (!draws_bars_) return;
  const std::lock_guard lock(mutex_);
  bar_ = text;
  write_ignoring_failure(err_, std::string(kClearLine).append(visible_bar()));
}

void Console::end_bar() {
  const std::lock_guard lock(mutex_);
  if (!bar_.empty()) write_ignoring_failure(err_, kClearLine);
  bar_.clear();
}

}  // namespace switchyard
