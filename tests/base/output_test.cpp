// What people see of a run: bars, lines, logs; and that a full device or a closed pipe does not end it.
#include "switchyard/base/log.h"
#include "switchyard/base/progress.h"
#include "switchyard/base/units.h"

#include "tests/support/scratch.h"

#include <array>
#include <thread>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace switchyard {
namespace {

// A pseudo terminal and what was written to it.
struct Terminal {
  Terminal() : screen(posix_openpt(O_RDWR | O_NOCTTY)) {
    check(screen >= 0 && grantpt(screen) == 0 && unlockpt(screen) == 0, "no pseudo terminal");
    end = ::open(ptsname(screen), O_RDWR | O_NOCTTY);
    check(end >= 0, "no pseudo terminal");
  }
  ~Terminal() { ::close(screen), ::close(end); }
  void set_columns(unsigned short columns) const {
    winsize size{};
    size.ws_col = columns;
    check(ioctl(screen, TIOCSWINSZ, &size) == 0, "no size of a pseudo terminal");
  }
  // All that was written: a terminal hands it on piece by piece, so a mark behind it tells where it ends.
  std::string written() const {
    constexpr char kMark = 1;
    check(::write(end, &kMark, 1) == 1, "a pseudo terminal takes nothing");
    std::string text;
    for (char c; ::read(screen, &c, 1) == 1 && c != kMark;) text += c;
    return text;
  }
  int screen, end = -1;
};

TEST(Units, KeepThreeDigitsAndAUnit) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(999), "999 B");
  EXPECT_EQ(format_bytes(1536), "1.50 KiB");
  EXPECT_EQ(format_bytes(24.0 * 1024 * 1024), "24.0 MiB");
  EXPECT_EQ(format_count(12345), "12.3k");
  EXPECT_EQ(format_count(999.7), "1.00k");
  EXPECT_EQ(format_duration(7.4), "0:07");
  EXPECT_EQ(format_duration(754), "12:34");
  EXPECT_EQ(format_duration(11100), "3:05:00");
  EXPECT_EQ(format_duration(2 * 86400 + 3 * 3600 + 5 * 60), "2 d 03:05");
  EXPECT_EQ(plural(0, "rank"), "0 ranks");
  EXPECT_EQ(plural(1, "rank"), "1 rank");
  EXPECT_EQ(plural(2, "rank"), "2 ranks");
  EXPECT_EQ(format_duration(-1), "--:--");
}

TEST(Progress, BarShowsShareRateAndTimeLeft) {
  const ProgressState half{.title = "train", .done = 300, .total = 600, .seconds = 60};
  EXPECT_EQ(progress_bar(half, 100), "train [==============>               ]  50%  300/600  5/s  1:00 left");
  EXPECT_EQ(progress_line(half), "train 50%  300/600  5/s  1:00 left");
  const ProgressState resumed{.title = "train", .done = 300, .total = 600, .seconds = 60, .done_before = 240};
  EXPECT_EQ(progress_line(resumed), "train 50%  300/600  1/s  5:00 left");
}

TEST(Progress, BarFitsItsWidthWhateverIsInIt) {
  for (int64_t done : {0, 1, 599, 600, 100000})
    for (int64_t total : {0, 600})
      for (size_t note : {0u, 20u, 60u, 200u})
        for (int width : {20, 80, 100}) {
          const std::string text(note, 'n');
          const ProgressState state{"title", done, total, Unit::bytes, 2.5, 0, text};
          EXPECT_LE(progress_bar(state, width).size(), static_cast<size_t>(width));
        }
}

TEST(Console, LinesAppearAboveTheBar) {
  const Terminal terminal;
  Console console(terminal.end, terminal.end);
  ASSERT_TRUE(console.draws_bars());
  console.bar("half");
  console.line("a line");
  console.end_bar();
  EXPECT_EQ(terminal.written(), "\r\x1b[Khalf\r\x1b[Ka line\r\nhalf\r\x1b[K");
}

TEST(Console, ABarIsNarrowerThanItsTerminal) {
  const Terminal terminal;
  Console console(terminal.end, terminal.end);
  EXPECT_EQ(console.bar_columns(), 79) << "a terminal that does not say has 80 columns";
  const std::string clear = "\r\x1b[K", note(200, 'n');
  for (const unsigned short columns : {60, 200, 40, 2}) {
    terminal.set_columns(columns);
    const auto most = std::min<size_t>(100, columns - 1);
    console.bar(note);
    EXPECT_EQ(terminal.written(), clear + std::string(most, 'n'));
    Progress(note, 10, Unit::steps, 0, 0, console).update(5);
    EXPECT_EQ(terminal.written().size(), 2 * clear.size() + most);
  }
  terminal.set_columns(60);
  console.bar(note);
  terminal.set_columns(30);
  console.line("x");
  EXPECT_EQ(terminal.written(), clear + std::string(59, 'n') + clear + "x\r\n" + std::string(29, 'n'))
      << "a terminal that has been made smaller";
}

TEST(Console, ALogGetsNoBar) {
  const test::Scratch scratch;
  const int fd = ::open(scratch.write("log", "").c_str(), O_WRONLY);
  Console console(fd, fd);
  EXPECT_FALSE(console.draws_bars());
  console.bar("half");
  console.line("a line");
  Progress progress("work", 10, Unit::steps, 1000, 0, console);
  progress.update(5);
  ::close(fd);
  EXPECT_EQ(scratch.read("log"), "a line\n");
}

TEST(Console, AFullDeviceOrClosedPipeIsIgnored) {
  const int full = ::open("/dev/full", O_WRONLY);
  ASSERT_GE(full, 0);
  Console(full, full).line("lost");
  ::close(full);
  Console(full, full).line("lost too");  // a descriptor that is no more
}

TEST(Log, EachRankHasItsFile) {
  const test::Scratch scratch;
  auto speak = [&](int rank) {
    set_up_log({.folder = scratch.path("log"), .rank = rank, .console_ranks = 0});
    log()->info("from rank {}", rank);
  };
  std::thread(speak, 3).join();
  std::thread(speak, 12).join();
  std::thread(speak, 3).join();
  EXPECT_EQ(scratch.read("log/rank-0012.log").substr(23), " I from rank 12\n");
  const std::string twice = scratch.read("log/rank-0003.log");
  EXPECT_EQ(std::count(twice.begin(), twice.end(), '\n'), 2) << "a second run appends";
}

TEST(Log, AFullDeviceDoesNotEndTheRun) {
  const test::Scratch scratch;
  std::filesystem::create_symlink("/dev/full", scratch.path("rank-0000.log"));
  std::thread([&] {
    set_up_log({.folder = scratch.path(""), .rank = 0, .console_ranks = 0});
    for (int i = 0; i < 100; ++i) log()->info("line {} of a full disk", i);
  }).join();
}

TEST(Log, AFolderThatCannotBeMadeIsAnError) {
  const test::Scratch scratch;
  const std::string file = scratch.write("file", "");
  test::expect_error(ExitCode::io, {"file/log", "cannot create"}, [&] { set_up_log({.folder = file + "/log"}); });
}

}  // namespace
}  // namespace switchyard
