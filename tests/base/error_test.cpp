// The exit code of every kind of error.
#include "switchyard/base/error.h"

#include <gtest/gtest.h>

#include <filesystem>

namespace switchyard {
namespace {

TEST(CodeOf, AnyExceptionIsThatOfItsClass) {
  EXPECT_EQ(code_of(Error(ExitCode::watchdog, "x")), ExitCode::watchdog);
  EXPECT_EQ(code_of(SharedError(ExitCode::usage, "x")), ExitCode::usage);
  EXPECT_EQ(code_of(std::filesystem::filesystem_error("x", {})), ExitCode::io);
  EXPECT_EQ(code_of(std::runtime_error("x")), ExitCode::internal);
}

}  // namespace
}  // namespace switchyard
