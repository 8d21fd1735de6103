// What a process shows: lines that stay (standard output; warnings on standard error) and, on a terminal, one bar below
// them that is redrawn. Whoever prints goes through here, so that lines and bar never mix. A failed write (a closed
// pipe, a full device) is nothing that a run should end for, and is ignored.
#pragma once

#include <mutex>
#include <string>
#include <string_view>

namespace switchyard {

constexpr int kTerminalColumns = 100;  // that everything shown fits into

class Console {
 public:
  Console(int out, int err);   // descriptors; the bar is drawn on `err` if it is a terminal
  static Console& standard();  // of the process: its terminal exists once

  void line(std::string_view text);     // to `out`
  void warning(std::string_view text);  // to `err`
  void bar(std::string_view text);      // in place of the bar before; nothing where there is no terminal
  void end_bar();                       // takes the bar away
  bool draws_bars() const { return draws_bars_; }
  int bar_columns()
      const;  // that a bar may have now: one fewer than the terminal, so that no line wraps; at most those

 private:
  void put(int descriptor, std::string_view text);
  std::string_view visible_bar() const;

  std::mutex mutex_;
  int out_, err_;
  bool draws_bars_;
  std::string bar_;  // what stands there now
};

}  // namespace switchyard
