// Files, includes and overrides: which value wins, where it came from, and what is refused.
#include "tests/config/example.h"
#include "tests/config/expect_refused.h"

#include <filesystem>
#include <fstream>

#include <sys/stat.h>
#include <unistd.h>

namespace switchyard::config::example {
namespace {

// A folder with files that lives as long as the test.
class Files {
 public:
  Files() : folder_(std::filesystem::temp_directory_path() / fmt::format("switchyard-config-{}", getpid())) {
    std::filesystem::create_directories(folder_ / "sub");
  }
  ~Files() { std::filesystem::remove_all(folder_); }
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;

  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return path(name);
  }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

 private:
  std::filesystem::path folder_;
};

TEST(Sources, LaterKeysWinAndListsAreReplaced) {
  const Files files;
  files.write("sub/one.yaml", "name: one\ncount: 1\nsteps: [1, 2, 3]\nrange: {first: 1}\n");
  files.write("sub/two.yaml", "include: one.yaml\ncount: 2\nrange: {last: 8}\n");
  const std::string main = files.write("main.yaml", "include: [sub/one.yaml, sub/two.yaml]\nsteps: [9]\nscale: 4\n");
  const auto parsed = parse<Example>(read_sources(main), {"scale=5", "range.last=7", "scale=6"});
  EXPECT_EQ(parsed.value.name, "one");
  EXPECT_EQ(parsed.value.count, 2);
  EXPECT_EQ(parsed.value.steps, std::vector<int64_t>{9});
  EXPECT_EQ(parsed.value.scale, 6.0);
  EXPECT_EQ(parsed.value.range, (Range{.first = 1, .last = 7}));
  EXPECT_EQ(parsed.origins.at("name"), files.path("sub/one.yaml") + ":1");
  EXPECT_EQ(parsed.origins.at("count"), files.path("sub/two.yaml") + ":2");
  EXPECT_EQ(parsed.origins.at("steps"), main + ":2");
  EXPECT_EQ(parsed.origins.at("scale"), "override");
}

TEST(Sources, PackedBytesParseToTheSameConfig) {
  const Files files;
  files.write("base.yaml", "name: \"a:b\"\n");
  const Sources sources = read_sources(files.write("main.yaml", "include: base.yaml\ncount: 5\n"));
  ASSERT_EQ(sources.files.size(), 2u);
  const Sources copy = Sources::unpack(sources.pack());
  EXPECT_EQ(copy.pack(), sources.pack());
  EXPECT_EQ(parse<Example>(copy).value, parse<Example>(sources).value);
}

TEST(Sources, UnreadableFilesAreReportedWhenParsed) {
  const Files files;
  const auto parse_path = [](const std::string& path) { parse<Example>(Sources::unpack(read_sources(path).pack())); };
  expect_refused([&] { parse_path(files.path("none.yaml")); }, {"none.yaml", "cannot be read", "No such file"},
                 "missing");
  expect_refused([&] { parse_path(files.path("sub")); }, {"sub", "is a folder"}, "a folder");
  ASSERT_EQ(mkfifo(files.path("pipe").c_str(), 0600), 0);
  expect_refused([&] { parse_path(files.path("pipe")); }, {"pipe", "is a device, pipe or socket"}, "a pipe");
  expect_refused([&] { parse_path(files.write("a.yaml", "name: x\n\ninclude: gone.yaml\n")); },
                 {"a.yaml:3: include", "gone.yaml", "cannot be read"}, "a missing include");
  expect_refused([&] { parse_path(files.write("list.yaml", "- a\n")); }, {"list.yaml", "a list"}, "not a map");
  expect_refused([&] { parse_path(files.write("big.yaml", std::string(1000001, ' '))); }, {"1000001 bytes"},
                 "too long");
  expect_refused([&] { parse_path(files.write("c.yaml", "name: x\ninclude: [b.yaml, [d]]\n")); },
                 {"c.yaml:2: include", "a list of files"}, "a list in the list");
}

TEST(Sources, IncludeCyclesAreRefused) {
  const Files files;
  files.write("sub/b.yaml", "include: ../a.yaml\n");
  const std::string a = files.write("a.yaml", "name: x\ninclude: sub/b.yaml\n");
  expect_refused([&] { parse<Example>(read_sources(a)); }, {"sub/b.yaml:1: include", "includes itself", "a.yaml -> "},
                 "two files that include each other");
  const std::string self = files.write("self.yaml", "include: self.yaml\n");
  expect_refused([&] { parse<Example>(read_sources(self)); }, {"self.yaml:1", "includes itself"},
                 "a file that includes itself");
}

TEST(Sources, ExponentialIncludesAreRefused) {
  const Files files;
  for (int i = 0; i < 20; ++i)
    files.write(fmt::format("f{}.yaml", i), fmt::format("include: [f{0}.yaml, f{0}.yaml]\n", i + 1));
  files.write("f20.yaml", "name: x\n");
  expect_refused([&] { parse<Example>(read_sources(files.path("f0.yaml"))); }, {"more than 64 included files"},
                 "2^20 files");
}

TEST(Overrides, AreRefusedByTheirText) {
  struct Row {
    std::string text;
    std::vector<std::string> pieces;
    const char* why;
  };
  const std::vector<Row> rows = {
      {.text = "count", .pieces = {"'count'", "key=value"}, .why = "no ="},
      {.text = "=3", .pieces = {"key=value"}, .why = "no key"},
      {.text = "range..first=3", .pieces = {"empty name"}, .why = "an empty part"},
      {.text = "range.=3", .pieces = {"empty name"}, .why = "a trailing dot"},
      {.text = "steps.0=3", .pieces = {"'steps.0=3'", "a list"}, .why = "into a list"},
      {.text = "count=1: 2", .pieces = {"'count=1: 2'", "on one line"}, .why = "a block map"},
      {.text = "steps=- 1", .pieces = {"on one line"}, .why = "a block list"},
      {.text = "steps=[1", .pieces = {"'steps=[1'"}, .why = "unclosed"},
      {.text = "count=*x", .pieces = {"'count=*x'"}, .why = "an alias"},
      {.text = "name=\xff", .pieces = {"UTF-8"}, .why = "not UTF-8"},
      {.text = "include=a.yaml", .pieces = {"include", "files only"}, .why = "an include"},
      {.text = "cuont=3", .pieces = {"override: cuont: unknown key", "'count'"}, .why = "an unknown key"},
      {.text = "count=x", .pieces = {"override: count: got 'x'"}, .why = "a wrong type"},
      {.text = "name.x=3", .pieces = {"override: name", "text"}, .why = "below a scalar"},
      {.text = "count=", .pieces = {"override: count: got nothing"}, .why = "no value"},
  };
  for (const Row& row : rows)
    expect_refused([&] { parse_text("name: x\nsteps: [1]\n", {row.text}); }, row.pieces, row.why);
}

TEST(Overrides, ReplaceWordsBySectionsAndTakeFlowValues) {
  const auto parsed =
      parse_text("name: x\nwindow: none\n", {"window.first=4", "rules=[{color: red, file: 'a=b'}]", "note=a=b, c"});
  EXPECT_EQ(parsed.value.window, (Range{.first = 4, .last = 9}));
  EXPECT_EQ(parsed.value.rules.at(0).file, "a=b");
  EXPECT_EQ(parsed.value.note, "a=b, c");
}

}  // namespace
}  // namespace switchyard::config::example
