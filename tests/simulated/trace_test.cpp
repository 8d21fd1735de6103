// switchyard train --trace on GPUs: their own lines, and the same names for NVIDIA's profilers.
#include "tests/simulated/gpus.h"
#include "tests/support/trace_file.h"

#include <gmock/gmock.h>

namespace switchyard::test {
namespace {

std::set<std::string> names_of(const std::vector<TraceEvent>& events) {
  std::set<std::string> names;
  for (const TraceEvent& e : events) names.insert(e.name);
  return names;
}

const Command kShort{"data.sequence_length=16", "eval.batches=1"};

class TraceOnGpus : public testing::Test {
 protected:
  void must_trace(int ranks, const Command& words, const Environment& more = {}) const {
    must_train_on_gpus(ranks, kShort + Command{"--trace", file_} + words, scratch_.path("run"), more);
  }
  Scratch scratch_;
  std::string file_ = scratch_.path("trace.json");
};

// Streams have what the host has given them: the same ranges, but waits.
TEST_F(TraceOnGpus, HasALineForEachStream) {
  SKIP_UNLESS_GPUS(2);
  const Command layout{"parallel.expert=2", "train.steps=3"};
  ASSERT_NO_FATAL_FAILURE(must_trace(2, layout + Command{"--trace-steps", "2:2"}));
  const TraceFile trace(file_);
  for (const int rank : {0, 1}) {
    const auto host = trace.on_line(rank, "host"), kernels = trace.on_line(rank, "GPU: kernels"),
               communication = trace.on_line(rank, "GPU: communication"), transfers = trace.on_line(rank, "transfers");
    expect_nested(host);
    expect_nested(kernels);
    expect_nested(communication);
    EXPECT_EQ(kernels.size(), std::count_if(host.begin(), host.end(), [](const auto& e) {
                return e.category != "wait" && e.name != "writing the trace";
              }));
    EXPECT_THAT(names_of(kernels), testing::IsSupersetOf({"forward", "backward", "RmsNorm", "RmsNorm backward"}));
    EXPECT_THAT(names_of(communication), testing::IsSubsetOf(names_of(transfers)));
    EXPECT_THAT(names_of(communication), testing::IsSupersetOf({"all_to_all", "reduce_scatter", "all_gather"}));
    EXPECT_THAT(names_of(host), testing::Contains("wait for the GPU"));
    for (const TraceEvent& e : communication) EXPECT_TRUE(e.args.contains("bytes")) << e.name;
  }
}

TEST_F(TraceOnGpus, ChangesNoBitOfTheRun) {
  SKIP_UNLESS_GPUS(1);
  ASSERT_NO_FATAL_FAILURE(must_trace(1, {}));
  ASSERT_NO_FATAL_FAILURE(must_train_on_gpus(1, kShort, scratch_.path("plain")));
  expect_same_metrics(scratch_.path("run"), scratch_.path("plain"));
  expect_same_checkpoint(scratch_.path("run"), scratch_.path("plain"));
}

// Profilers hear every step, under the names of the trace.
TEST_F(TraceOnGpus, HasTheNamesThatProfilersHear) {
  SKIP_UNLESS_GPUS(2);
  const std::string heard = scratch_.path("heard.");
  ASSERT_NO_FATAL_FAILURE(
      must_trace(2, {"parallel.expert=2", "train.steps=2", "--trace-steps", "2:2"},
                 {{"NVTX_INJECTION64_PATH", build_folder() / "libnvtx_listener.so"}, {"NVTX_LISTENER_FILE", heard}}));
  const TraceFile trace(file_);
  for (const int rank : {0, 1}) {
    std::istringstream lines(read_text(heard + std::to_string(rank)));
    std::set<std::string> pushed, started;
    int depth = 0, under_way = 0;
    for (std::string line; std::getline(lines, line);) {
      if (line[0] == '+') pushed.insert(line.substr(1));
      if (line[0] == '>') started.insert(line.substr(1));
      depth += line[0] == '+' ? 1 : line[0] == '-' ? -1 : 0;
      under_way += line[0] == '>' ? 1 : line[0] == '<' ? -1 : 0;
      ASSERT_GE(depth, 0);
      ASSERT_GE(under_way, 0);
    }
    EXPECT_EQ(depth, 0);
    EXPECT_EQ(under_way, 0);
    EXPECT_TRUE(pushed.contains("step 1")) << "which is not in the trace";
    auto traced = names_of(trace.on_line(rank, "host"));
    traced.erase("writing the trace");
    EXPECT_THAT(pushed, testing::IsSupersetOf(traced));
    EXPECT_THAT(started, testing::IsSupersetOf({"all_to_all", "reduce_scatter", "all_gather"}));
  }
}

}  // namespace
}  // namespace switchyard::test
