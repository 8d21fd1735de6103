// Columns of constant width, so that lines below each other can be compared at a glance.
#include "switchyard/metrics/tables.h"

#include "switchyard/base/console.h"
#include "switchyard/base/units.h"

#include <fmt/format.h>

namespace switchyard::metrics {

std::string step_line(const StepLine& s) {
  const auto width = fmt::formatted_size("{}", s.steps);
  // A loss below 1 needs "0." and a zero or two in front of its digits.
  std::string line =
      fmt::format("step {:>{}}/{}  loss {:<{}.{}g} lr {:<8.3g} norm {:<8.4g} {:>6} tok/s", s.step, width, s.steps,
                  s.loss, s.loss_digits + 2, s.loss_digits, s.lr, s.grad_norm, format_count(s.tokens_per_second));
  if (s.load > 0) line += fmt::format("  load {:.2f}", s.load);
  if (s.seconds_left > 0) {
    const std::string left = fmt::format("  {} left", format_duration(s.seconds_left));
    if (line.size() + left.size() <= kTerminalColumns) line += left;
  }
  return line;
}

std::string memory_table(const Allocator& allocator, std::string_view title,
                         const std::optional<BytesByPurpose>& expected) {
  std::string table = fmt::format("{:<18}{:>12}{:>12}{}\n", title, "now", "peak", expected ? "   in a step" : "");
  const auto row = [&](std::string_view name, const MemoryStats& stats, int64_t in_step) {
    table += fmt::format("  {:<16}{:>12}{:>12}", name, format_bytes(static_cast<double>(stats.live_bytes)),
                         format_bytes(static_cast<double>(stats.peak_bytes)));
    if (expected) table += fmt::format("{:>12}", format_bytes(static_cast<double>(in_step)));
    table += '\n';
  };
  int64_t sum = 0;
  for (size_t p = 0; p < kNumPurposes; ++p) {
    const int64_t in_step = expected ? (*expected)[p] : 0;
    row(name_of(static_cast<Purpose>(p)), allocator.stats(static_cast<Purpose>(p)), in_step);
    sum += in_step;
  }
  row("all", allocator.total(), sum);
  return table;
}

}  // namespace switchyard::metrics
