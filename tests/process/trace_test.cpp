// switchyard train --trace: what is in the file, when it is refused, and that the run is the same.
#include "tests/support/trace_file.h"

#include <fmt/ranges.h>
#include <gmock/gmock.h>

namespace switchyard::test {
namespace {

class TraceOption : public testing::Test {
 protected:
  Outcome train_with(const Train& what, const Command& words, const Environment& environment = {}) const {
    return run(what.with(words).command(dir_), environment);
  }
  Outcome traced(const Train& what, const Command& words = {}, const Environment& environment = {}) const {
    return train_with(what, Command{"--trace", file_} + words, environment);
  }
  void expect_steps(std::set<std::string> steps, int ranks = 1) const {
    const TraceFile trace(file_);
    for (int rank = 0; rank < ranks; ++rank) EXPECT_EQ(trace.steps_of(rank), steps) << "rank " << rank;
  }

  Scratch scratch_;
  std::string dir_ = scratch_.path("run"), file_ = scratch_.path("trace.json");
};

const Train kTwoRanks{"tiny", 2, {"train.steps=6", "parallel.expert=2", "eval.every=0"}};

TEST_F(TraceOption, HasEveryRankAndWhatItDoesInsideEachOther) {
  expect_outcome(traced(kTwoRanks, {"--trace-steps", "2:4"}), 0, {"trace      steps 2 to 4", "traced steps 2 to 4"});
  const TraceFile trace(file_);
  EXPECT_EQ(trace.ranks, (std::map<int, std::string>{{0, "rank 0"}, {1, "rank 1"}}));
  expect_steps({"step 2", "step 3", "step 4"}, 2);
  for (const int rank : {0, 1}) {
    const auto host = trace.on_line(rank, "host");
    expect_nested(host);
    std::set<std::string> names;
    for (const TraceEvent& e : host) names.insert(e.name);
    for (const char* name :
         {"data", "forward", "backward", "gradient sync", "clip", "sums of the step", "AdamW", "Embedding", "RmsNorm",
          "RmsNorm backward", "Attention", "Attention backward", "GroupedLinear", "GroupedLinear backward",
          "CollectiveStart", "CollectiveFinish backward", "LinearCrossEntropy", "wait for all_to_all"})
      EXPECT_TRUE(names.contains(name)) << name;
    for (const TraceEvent& e : host) {
      const bool is_of_sums = e.name == "Add";  // of the losses of passes
      const bool is_of_pass = e.category == "backward" || (e.category == "forward" && !is_of_sums);
      EXPECT_TRUE(!is_of_pass || lies_in(host, e, e.category)) << e.name;
      const std::string shapes = e.args.value("inputs", "");
      EXPECT_TRUE(e.name != "Attention" || shapes == "f32 (2, 32, 2, 16) f32 (2, 32, 1, 16) f32 (2, 32, 1, 16)")
          << shapes;
    }
  }
}

// Each line holds transfers one after the other; those that overlap are on different ones.
TEST_F(TraceOption, HasTransfersFromStartToWait) {
  expect_outcome(traced(kTwoRanks), 0);
  const TraceFile trace(file_);
  std::map<std::pair<int, int>, double> ends;
  std::set<std::string> names;
  for (const TraceEvent& e : trace.events) {
    if (e.category != "transfer") continue;
    names.insert(e.name);
    EXPECT_GE(e.begin, (ends[{e.rank, e.line}]) - kRounding) << e.name;
    ends[{e.rank, e.line}] = e.end;
    EXPECT_GE(e.args.at("bytes").get<int64_t>(), 0);
    EXPECT_TRUE(e.name != "reduce_scatter" || e.args.at("bytes") > 1000) << "gradients";
    EXPECT_EQ(e.args.at("ranks"), "0 1");
    EXPECT_EQ(e.args.at("size"), 2);
  }
  EXPECT_THAT(names, testing::IsSupersetOf({"all_to_all", "all_reduce", "reduce_scatter", "all_gather"}));
  EXPECT_GE(ends.size(), 4) << "rows and weights of a dispatch travel at once";
}

TEST_F(TraceOption, ChangesNoBitOfTheRun) {
  expect_outcome(traced(kTwoRanks), 0);
  const std::string plain = scratch_.path("plain");
  must_train(kTwoRanks, plain);
  expect_same_metrics(dir_, plain);
  expect_same_checkpoint(dir_, plain);
}

TEST_F(TraceOption, TakesTheThirdToTheFifthStepOfAStart) {
  const Train tiny{"tiny", 1, {"schedule.kind=constant", "checkpoint.every=7", "eval.every=0"}};
  expect_outcome(traced(tiny, {"train.steps=7"}), 0);
  expect_steps({"step 3", "step 4", "step 5"});
  expect_outcome(traced(tiny, {"train.steps=20"}), 0);
  expect_steps({"step 10", "step 11", "step 12"});
  expect_outcome(traced(tiny, {"train.steps=21"}), 0, {"trace      step 21"});
  expect_steps({"step 21"});
}

TEST_F(TraceOption, IsWholeWhenARankFails) {
  const Outcome outcome = traced(kTwoRanks, {}, {{"SWITCHYARD_FAULT", "error:5:1"}});
  EXPECT_NE(outcome.code, 0);
  expect_steps({"step 3", "step 4"}, 2);
}

TEST_F(TraceOption, ThatFillsTheDiskEndsAndTheRunGoesOn) {
  const Train tiny{"tiny", 1, {"eval.every=0"}};
  const Command limit{"prlimit", "--fsize=1000000"};
  const Outcome outcome = run(limit + tiny.with({"--trace", file_, "--trace-steps", "1:20"}).command(dir_));
  expect_outcome(outcome, 0, {"the trace ends before step "});
  EXPECT_EQ(count_of(outcome.err, "the trace"), 1);
  EXPECT_EQ(count_of(outcome.out, "traced"), 0) << "it is not whole";
  EXPECT_EQ(last_step(dir_), 20);
  const auto steps = TraceFile(file_).steps_of(0);
  EXPECT_TRUE(steps.contains("step 1"));
  EXPECT_FALSE(steps.contains("step 20"));
}

TEST_F(TraceOption, IsRefusedBeforeTheRunBegins) {
  const Train tiny{"tiny", 1, {"train.steps=6"}};
  const auto refused = [&](const Command& words, const std::vector<std::string>& parts, int ranks = 1) {
    SCOPED_TRACE(fmt::format("{}", fmt::join(words, " ")));
    const Outcome outcome = train_with({tiny.config, ranks, tiny.overrides}, words);
    expect_outcome(outcome, 64, parts);
    expect_one_message(outcome);
    EXPECT_EQ(last_step(dir_), 0);
    EXPECT_FALSE(fs::exists(fs::path(dir_) / "verdict.json"));
  };
  refused({"--trace", scratch_.path("none/trace.json")}, {"--trace: ", "none/trace.json", "No such file"}, 2);
  refused({"--trace", scratch_.path("")}, {"--trace: ", "Is a directory"});
  refused({"--trace-steps", "1:2"}, {"--trace-steps requires --trace"});
  for (const char* steps :
       {"", "3", "3:", ":3", "3:2", "0:2", "-1:2", "1:2:3", "a:b", "1:2x", "1:99999999999999999999"})
    refused({"--trace", file_, "--trace-steps", steps}, {"--trace-steps", "FIRST:LAST"});
  refused({"--trace", file_, "--trace-steps", "5:7"},
          {"--trace-steps 5:7", "trains steps 1 to 6", "accepted: FIRST:LAST among them"}, 2);
  EXPECT_FALSE(fs::exists(file_));
}

TEST_F(TraceOption, IsRefusedOfStepsThatAResumedRunHasBehindIt) {
  const Train tiny{"tiny", 1, {"train.steps=6"}};
  must_train(tiny, dir_);
  expect_outcome(traced(tiny, {}), 64, {"--trace: the run is at step 6 of 6"});
  expect_outcome(traced(tiny, {"train.steps=8", "--trace-steps", "6:7"}), 64, {"trains steps 7 to 8"});
  expect_verdict(dir_, "finished", 6);
}

}  // namespace
}  // namespace switchyard::test
