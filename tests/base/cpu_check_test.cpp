// A processor that lacks something is refused in one line, before any other code of the program runs.
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <string>

#include <sys/wait.h>

namespace {

TEST(CpuCheck, AMissingFeatureIsNamedBeforeAnythingElseRuns) {
  const auto probe = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "cpu_check_probe";
  FILE* pipe = popen((probe.string() + " 2>&1").c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  std::string output;
  std::array<char, 256> part;
  while (fgets(part.data(), part.size(), pipe)) output += part.data();
  const int status = pclose(pipe);
  EXPECT_EQ(output,
            "switchyard: this processor lacks time-travel, for which the program was built; build it here with "
            "scripts/build.sh release\n");
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 70);
}

}  // namespace
