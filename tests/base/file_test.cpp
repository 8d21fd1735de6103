// Files by descriptor: whole reads and writes, and errors that name path and reason.
#include "switchyard/base/file.h"

#include "tests/support/scratch.h"

#include <sys/stat.h>

namespace switchyard {
namespace {

TEST(File, GivesBackWhatWasWritten) {
  const test::Scratch scratch;
  File out = File::create(scratch.path("f"));
  out.write("hello ");
  out.write("world");
  out.sync();
  out.close();
  EXPECT_FALSE(out.is_open());
  EXPECT_EQ(read_file(scratch.path("f")), "hello world");
  std::string part(5, ' ');
  File::open(scratch.path("f")).read_at(6, part.data(), 5);
  EXPECT_EQ(part, "world");
}

TEST(File, ReadingPastTheEndIsABadInput) {
  const test::Scratch scratch;
  const File file = File::open(scratch.write("f", "12345"));
  std::string out(10, ' ');
  test::expect_error(ExitCode::input, {"/f", "ends at byte 5", "2 bytes"}, [&] { file.read_at(2, out.data(), 5); });
}

TEST(File, OnlyRegularFilesAreRead) {
  const test::Scratch scratch;
  test::expect_error(ExitCode::input, {"missing", "No such file"}, [&] { File::open(scratch.path("missing")); });
  test::expect_error(ExitCode::input, {"is a folder"}, [&] { File::open(scratch.path("")); });
  ASSERT_EQ(mkfifo(scratch.path("pipe").c_str(), 0600), 0);
  test::expect_error(ExitCode::input, {"pipe", "regular file"}, [&] { File::open(scratch.path("pipe")); });
}

TEST(File, AFullDeviceIsAnInputOutputError) {
  test::expect_error(ExitCode::io, {"/dev/full", "No space left"}, [] { File::append("/dev/full").write("x"); });
}

TEST(ReplaceFile, LeavesOldBytesWhenItFails) {
  const test::Scratch scratch;
  const std::string path = scratch.write("f", "old");
  replace_file(path, "new");
  EXPECT_EQ(scratch.read("f"), "new");
  const std::string folder = scratch.path("folder/f");
  test::expect_error(ExitCode::io, {"folder"}, [&] { replace_file(folder, "x"); });
  std::filesystem::create_directories(scratch.path("taken/inner"));
  test::expect_error(ExitCode::io, {"taken", "rename"}, [&] { replace_file(scratch.path("taken"), "x"); });
  for (const auto& entry : std::filesystem::directory_iterator(scratch.path("")))
    EXPECT_EQ(entry.path().string().find(".tmp-"), std::string::npos) << entry.path();
}

}  // namespace
}  // namespace switchyard
