// Checkpoints of every released format stay readable: format-N beside this file holds one that was written by it. A new
// format gets a sample of its own; a sample is never written again.
#include "tests/checkpoint/state.h"

#include <gtest/gtest.h>

namespace switchyard::test {
namespace {

TEST(CheckpointFormat, SamplesOfAllFormatsAreRead) {
  if (!std::filesystem::exists("tests/checkpoint/format-1"))
    GTEST_SKIP() << "the current folder is not the repository's root";
  const comm::Group alone;
  const auto found = checkpoint::find("tests/checkpoint/format-1", alone);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->manifest.format_version, 1u);
  EXPECT_TRUE(loads_as_step(*found, alone, 2));
}

}  // namespace
}  // namespace switchyard::test
