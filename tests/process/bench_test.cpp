// switchyard bench: what its JSON promises to scripts, that the kernels it counts are all that oneDNN compiles, and
// that steps after the warm-up take nothing from the system.
#include "tests/support/runs.h"

namespace switchyard::test {
namespace {

class BenchCommand : public testing::Test {
 protected:
  Outcome bench(const Command& words, int ranks = 1) const {
    return run(on_ranks(ranks, Command{program(), "bench"} + words + Command{"--json", json_}));
  }
  Json json() const { return Json::parse(read_text(json_), nullptr, false); }

  Scratch scratch_;
  std::string json_ = scratch_.path("bench.json");
};

double processor_seconds(pid_t process) {
  const std::string text = read_text(fmt::format("/proc/{}/stat", process));
  std::istringstream fields(text.substr(std::min(text.size(), text.rfind(')') + 1)));  // from the third field on
  std::string skipped;
  for (int i = 3; i < 14; ++i) fields >> skipped;
  double user = 0, system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

// Each rank writes a file of its own: mpirun may cut lines of two ranks into each other.
TEST_F(BenchCommand, StepCountsEveryKernelAndTakesNoMemoryAfterTheWarmUp) {
  for (const char* dtype : {"f32", "bf16"})
    for (const int ranks : {1, 2}) {
      SCOPED_TRACE(fmt::format("{} on {} ranks", dtype, ranks));
      const std::string output = scratch_.path(fmt::format("{}-{}-", dtype, ranks));
      const Command own_file{"sh", "-c", "exec \"$@\" >'" + output + "'${OMPI_COMM_WORLD_RANK:-0}", "sh"};
      const Command step{"bench",
                         "step",
                         "--config",
                         config_file("tiny"),
                         "--dtype",
                         dtype,
                         "--warm-up",
                         "2",
                         "--steps",
                         "3",
                         "--roof-seconds",
                         "0",
                         "--json",
                         json_,
                         fmt::format("parallel.expert={}", ranks)};
      expect_outcome(run(on_ranks(ranks, own_file + Command{program()} + step), {{"DNNL_VERBOSE", "2"}}), 0);
      int64_t compiled = 0;
      for (int rank = 0; rank < ranks; ++rank)
        compiled += count_of(read_text(output + std::to_string(rank)), "create:cache_miss");
      const Json report = json();
      EXPECT_EQ(report.at("kernels_compiled"), 0) << "in the timed steps";
      EXPECT_EQ(report.at("system_allocations"), 0) << "in the timed steps";
      EXPECT_GT(compiled, 0);
      EXPECT_EQ(report.at("kernels_compiled_before"), compiled);
    }
}

TEST_F(BenchCommand, StepTellsEveryNumberInItsJson) {
  expect_outcome(bench({"step", "--config", config_file("tiny"), "--warm-up", "1", "--steps", "2", "--threads", "1",
                        "--roof-seconds", "0"}),
                 0, {"tokens/s"});
  const Json report = json();
  EXPECT_EQ(report.at("config"), "tiny");
  EXPECT_EQ(report.at("dtype"), "f32");
  EXPECT_EQ(report.at("threads"), 1);
  EXPECT_EQ(report.at("ranks"), 1);
  for (const char* key : {"tokens_per_second", "gflops", "peak_memory_bytes"})
    EXPECT_GT(report.at(key).get<double>(), 0) << key;
  for (const char* key : {"roof_gflops", "roof_share"}) EXPECT_EQ(report.at(key), 0) << key << ", none was measured";
  for (const char* key : {"kernels_compiled", "system_allocations"})
    EXPECT_TRUE(report.at(key).is_number_integer()) << key;

  ASSERT_FALSE(report.at("ops").empty());
  for (const Json& op : report.at("ops")) {
    EXPECT_FALSE(op.at("name").get<std::string>().empty());
    EXPECT_TRUE(op.at("seconds").is_number()) << op;
    EXPECT_TRUE(op.at("share") >= 0 && op.at("share") <= 1) << op;
  }
}

// By the time that it has taken, the rank is in its steps.
TEST_F(BenchCommand, ARankThatHangsEndsAllByTheWatchdog) {
  Process process(on_ranks(
      2, {program(), "bench", "step", "--config", config_file("tiny"), "--steps", "1000000", "run.watchdog=3"}));
  const pid_t rank = process.rank(1);
  ASSERT_TRUE(wait_until([&] { return process.is_over() || processor_seconds(rank) > 2; }));
  expect_end_by_watchdog(process, rank, 3, {"[rank 0] switchyard: step ", "took longer than run.watchdog=3 seconds"});
}

TEST_F(BenchCommand, ARankThatHangsInTheRoofEndsAllByTheWatchdog) {
  Process process(on_ranks(
      2, {program(), "bench", "roof", "--divide", "4", "--seconds", "0.4", "--threads", "1", "--watchdog", "5"}));
  const pid_t rank = process.rank(1);
  ASSERT_TRUE(wait_until([&] { return process.is_over() || processor_seconds(rank) > 2; }));
  expect_end_by_watchdog(process, rank, 5,
                         {"[rank 0] switchyard: the roof of f32 products, ", " took longer than run.watchdog=5"});
}

TEST_F(BenchCommand, RoofHasEveryRowAndTheExchangeWhereThereIsOne) {
  for (const int ranks : {1, 2}) {
    SCOPED_TRACE(ranks);
    expect_outcome(bench({"roof", "--divide", "16", "--seconds", "0.01", "--threads", "1"}, ranks), 0);
    const Json roof = json();
    EXPECT_EQ(roof.at("ranks"), ranks);
    std::set<std::string> dtypes, memory, exchange;
    for (const Json& row : roof.at("products")) {
      EXPECT_GT(row.at("gflops").get<double>(), 0) << row;
      dtypes.insert(row.at("dtype"));
    }
    for (const Json& row : roof.at("memory")) memory.insert(row.at("what"));
    for (const Json& row : roof.at("exchange")) exchange.insert(row.at("what"));
    EXPECT_EQ(dtypes, (std::set<std::string>{"bf16", "f32"}));
    EXPECT_EQ(memory, (std::set<std::string>{"copy", "triad"}));
    EXPECT_EQ(exchange, ranks == 1 ? std::set<std::string>() : std::set<std::string>{"all-to-all"});
    for (const char* dtype : {"f32", "bf16"}) EXPECT_GT(roof.at("roof_gflops").at(dtype).get<double>(), 0) << dtype;
  }
}

}  // namespace
}  // namespace switchyard::test
