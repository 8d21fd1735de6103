// Records are JSON with the promised digits; a resumed run cuts what came after its checkpoint.
#include "switchyard/metrics/record.h"
#include "switchyard/metrics/tables.h"
#include "switchyard/metrics/verdict.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include <sys/resource.h>

#include <cmath>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <limits>

namespace switchyard::metrics {
namespace {

class Folder : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = std::filesystem::temp_directory_path() / fmt::format("metrics-{}", getpid());
    std::filesystem::create_directories(path_);
  }
  void TearDown() override { std::filesystem::remove_all(path_); }
  std::string file(const char* name) const { return (path_ / name).string(); }
  std::filesystem::path path_;
};

Record record_of(int64_t step) {
  Record record;
  record.add("step", step);
  record.add("loss", 1.0 / 3.0);
  return record;
}

TEST(Record, KeepsNineDigitsAndAllOfAnF64) {
  Record record = record_of(7);
  record.add("exact", 0.1, 17);
  record.add("nan", std::numeric_limits<double>::quiet_NaN());
  record.add("text", "a \"b\"\n\xff");
  EXPECT_TRUE(
      record.line().starts_with(R"({"step": 7, "loss": 0.333333333, "exact": 0.10000000000000001, "nan": null)"));
  const auto object = nlohmann::json::parse(record.line());
  EXPECT_EQ(object["exact"].get<double>(), 0.1);
  EXPECT_EQ(object["text"].get<std::string>(), "a \"b\"\n\xef\xbf\xbd");
}

TEST(Record, HoldsArrays) {
  Record record;
  record.add("counts", std::vector<int64_t>{3, 0, 12345678901});
  record.add("none", std::vector<int64_t>());
  EXPECT_EQ(record.line(), "{\"counts\": [3, 0, 12345678901], \"none\": []}\n");
}

using MetricsFileTest = Folder;
TEST_F(MetricsFileTest, CutsWhatCameAfterTheResumedStep) {
  {
    MetricsFile file(this->file("m.jsonl"), -1);
    for (int64_t step = 1; step <= 5; ++step) EXPECT_TRUE(file.append(record_of(step)));
  }
  std::ofstream(this->file("m.jsonl"), std::ios::app) << "{\"step\": 6, \"lo";  // a run that died while writing
  MetricsFile file(this->file("m.jsonl"), 3);
  file.append(record_of(4));
  EXPECT_EQ(read_file(this->file("m.jsonl")),
            record_of(1).line() + record_of(2).line() + record_of(3).line() + record_of(4).line());
}

TEST_F(MetricsFileTest, ASpoiltLineCostsNoOther) {
  std::ofstream(this->file("m.jsonl")) << record_of(1).line() << "{\"step\": 2, \"lo" << record_of(3).line()
                                       << record_of(4).line() << "nonsense\n"
                                       << record_of(9).line();
  const std::string whole = read_file(this->file("m.jsonl"));
  MetricsFile file(this->file("m.jsonl"), 4);
  EXPECT_EQ(read_file(this->file("m.jsonl")), whole.substr(0, whole.find("nonsense")));
}

TEST_F(MetricsFileTest, ALongFileIsCutAtItsStepWhereverThatIs) {
  std::string text;
  std::vector<size_t> ends{0};  // by step
  for (int64_t step = 1; step <= 5000; ++step) {
    Record record = record_of(step);
    if (step % 1000 == 0) record.add("text", std::string(100000, 'x'));
    text += record.line();
    ends.push_back(text.size());
  }
  for (const int64_t last : {0, 1, 999, 1000, 2500, 4999, 5000, 6000}) {
    std::ofstream(this->file("m.jsonl")) << text << "{\"step\": 50";
    MetricsFile file(this->file("m.jsonl"), last);
    EXPECT_EQ(std::filesystem::file_size(this->file("m.jsonl")),
              ends[static_cast<size_t>(std::min<int64_t>(last, 5000))])
        << last;
  }
}

TEST_F(MetricsFileTest, AFullDiskLosesLinesButNotTheFile) {
  MetricsFile file(this->file("m.jsonl"), -1);
  EXPECT_TRUE(file.append(record_of(1)));
  Record long_record = record_of(2);
  long_record.add("text", std::string(5000, 'x'));
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{1000, before.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  EXPECT_FALSE(file.append(long_record));
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_TRUE(file.append(record_of(3)));
  EXPECT_EQ(read_file(this->file("m.jsonl")), record_of(1).line() + record_of(3).line());
}

TEST(MetricsFile, AFullDeviceIsReportedByAppend) {
  const auto path = std::filesystem::temp_directory_path() / fmt::format("metrics-full-{}", getpid());
  std::filesystem::create_symlink("/dev/full", path);
  EXPECT_FALSE(MetricsFile(path.string(), -1).append(record_of(1)));
  std::filesystem::remove(path);
}

using VerdictTest = Folder;
TEST_F(VerdictTest, SaysHowTheRunEnded) {
  write_verdict(path_.string(), Verdict::resume, 40, "stop requested");
  const auto object = nlohmann::json::parse(read_file(file("verdict.json")));
  EXPECT_EQ(object["verdict"], "resume");
  EXPECT_EQ(object["last_committed_step"], 40);
  EXPECT_EQ(object["reason"], "stop requested");
}

TEST_F(VerdictTest, ThatCannotBeWrittenHidesNothing) {
  write_verdict(path_.string() + "/missing", Verdict::failed, 40, "the reason");
}

TEST(Tables, StepLinesFitATerminalAndAlign) {
  const std::string small = step_line(
      {.step = 1, .steps = 200, .loss = 5.5, .lr = 1e-3, .grad_norm = 1, .tokens_per_second = 900, .load = 1});
  const std::string large = step_line({.step = 200,
                                       .steps = 200,
                                       .loss = 12.3456789,
                                       .lr = 1.2345678e-5,
                                       .grad_norm = 123.456789,
                                       .tokens_per_second = 123456,
                                       .load = 1.25});
  EXPECT_LE(large.size(), 100u);
  EXPECT_EQ(small.size(), large.size());
  EXPECT_NE(large.find("loss 12.3456789 "), std::string::npos) << "nine digits, so that two runs can be compared";
  const std::string half_done = step_line({.step = 100, .steps = 200, .loss = 5.5, .load = 1, .seconds_left = 3723});
  EXPECT_TRUE(half_done.ends_with("load 1.00  1:02:03 left")) << half_done;
  const std::string exact = step_line({.step = 200000,
                                       .steps = 200000,
                                       .loss = 2.0 / 3.0,
                                       .lr = 1.2345678e-5,
                                       .grad_norm = 123456.789,
                                       .tokens_per_second = 123456,
                                       .load = 1.25,
                                       .loss_digits = 17,
                                       .seconds_left = 1e6});
  EXPECT_LE(exact.size(), 100u);
  EXPECT_NE(exact.find("0.66666666666666663"), std::string::npos);
}

TEST(Tables, MemoryTableNamesEveryPurpose) {
  Allocator allocator;
  void* p = allocator.allocate(3 << 20, Purpose::optimizer);
  const std::string table = memory_table(allocator, "after step 7");
  EXPECT_TRUE(table.starts_with("after step 7 ")) << table;
  EXPECT_NE(table.find("optimizer"), std::string::npos);
  EXPECT_NE(table.find("3.00 MiB"), std::string::npos) << table;
  EXPECT_EQ(table.find("in a step"), std::string::npos) << table;
  allocator.release(p, 3 << 20, Purpose::optimizer);
}

TEST(Tables, MemoryTableShowsWhatAStepIsExpectedToTake) {
  Allocator allocator;
  BytesByPurpose expected{};
  expected[static_cast<size_t>(Purpose::weights)] = 5 << 20;
  expected[static_cast<size_t>(Purpose::activations)] = 6 << 20;
  const std::string table = memory_table(allocator, "memory", expected);
  EXPECT_NE(table.find("in a step\n"), std::string::npos) << table;
  EXPECT_NE(table.find("5.00 MiB\n"), std::string::npos) << table;
  EXPECT_TRUE(table.ends_with("11.0 MiB\n")) << table;
}

}  // namespace
}  // namespace switchyard::metrics
