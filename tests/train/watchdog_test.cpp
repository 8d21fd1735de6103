// The watchdog ends a process whose section never ends, and leaves others alone.
#include "switchyard/train/watchdog.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <cstdio>

namespace switchyard::train {
namespace {

void print(const std::string& words) { std::fprintf(stderr, "%s\n", words.c_str()); }

[[noreturn]] void hang() {
  for (;;) pause();
}

// The child of a death test starts anew: it must not inherit a lock of some other thread.
class WatchdogDeathTest : public testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(WatchdogDeathTest, ASectionThatIsTooLongEndsTheProcessWith76AndAStack) {
  EXPECT_EXIT(
      {
        Watchdog dog(0.05, print);
        const Watchdog::Section section(dog, "step 7");
        hang();
      },
      testing::ExitedWithCode(76), "step 7 took longer than run.watchdog=0.05 seconds(.|\n)*exit code 76(.|\n)*0x");
}

TEST_F(WatchdogDeathTest, TheSectionThatHangsIsNamedNotTheOnesBefore) {
  EXPECT_EXIT(
      {
        Watchdog dog(0.05, print);
        for (int i = 0; i < 3; ++i) const Watchdog::Section done(dog, "step");
        const Watchdog::Section section(dog, "saving");
        hang();
      },
      testing::ExitedWithCode(76), "saving took longer");
}

TEST_F(WatchdogDeathTest, LastWordsThatHangDoNotKeepTheProcess) {
  EXPECT_EXIT(
      {
        Watchdog dog(0.05, [](const std::string&) { hang(); });
        const Watchdog::Section section(dog, "step 7");
        hang();
      },
      testing::ExitedWithCode(76), "");
}

TEST(Watchdog, SectionsThatEndInTimeLeaveTheProcessAlone) {
  for (const double limit : {0.0, 3600.0}) {
    int words = 0;
    {
      Watchdog dog(limit, [&](const std::string&) { ++words; });
      for (int i = 0; i < 100; ++i) const Watchdog::Section section(dog, "step");
    }
    EXPECT_EQ(words, 0);
  }
}

TEST(Watchdog, ItsEndDoesNotWaitForTheLimit) {
  Watchdog dog(1e6, print);
  const Watchdog::Section section(dog, "step");
}

}  // namespace
}  // namespace switchyard::train
