// What a run does when its GPUs fail it: memory that is not there, a kernel that faults, a peer that dies, stops or
// calls something else. Every rank ends, one message says why with the exit code of its class, and what was saved
// before is as it was.
#include "tests/simulated/gpus.h"
#include "tests/support/full.h"

namespace switchyard::test {
namespace {

class FaultOnGpus : public testing::Test {
 protected:
  // Of the smallest step that has every part; the first of its two steps is made on the CPU and saved.
  void SetUp() override {
    const Outcome outcome =
        train({"sim-tiny", 1, kSmall + Command{"run.device=cpu"}}, first_, {{"SWITCHYARD_FAULT", "error:2:0"}});
    expect_outcome(outcome, 70);
    ASSERT_EQ(saved_steps(first_), std::vector<int64_t>{1});
  }

  // The second step, from a copy of the first; `of_rank_1`: environment of rank 1 alone, of the only one without it.
  Outcome go_on(const Command& overrides, const Environment& of_rank_1, int ranks = 1,
                const Environment& environment = {}) {
    return run(command(overrides, of_rank_1, ranks), gpus(ranks, environment));
  }
  Command command(const Command& overrides, const Environment& of_rank_1, int ranks) {
    fs::remove_all(dir_);
    fs::copy(first_, dir_, fs::copy_options::recursive | fs::copy_options::copy_symlinks);
    const Command words = Train{"sim-tiny", 1, kSmall + overrides + Command{"run.device=cuda"}}.command(dir_);
    Command with{"env"};
    for (const auto& [name, value] : of_rank_1) with.push_back(fmt::format("{}={}", name, value));
    return ranks == 1 ? with + words : as_ranks({words, with + words});
  }

  void expect_end(const Outcome& outcome, int code, const std::vector<std::string>& parts) const {
    expect_outcome(outcome, code, parts);
    expect_one_message(outcome);
    expect_first_step_whole();
  }
  void expect_first_step_whole() const {
    const std::vector<int64_t> saved = saved_steps(dir_);
    ASSERT_FALSE(saved.empty());
    EXPECT_EQ(saved.front(), 1);
    for (const auto& entry : fs::recursive_directory_iterator(checkpoint_of(first_, 1))) {
      if (!entry.is_regular_file()) continue;
      const fs::path same = checkpoint_of(dir_, 1) / entry.path().lexically_relative(checkpoint_of(first_, 1));
      EXPECT_TRUE(read_text(entry.path()) == read_text(same)) << same << " is not as it was";
    }
  }

  // What the simulator counted in a run that nothing fails.
  Json counts(const Command& overrides, int ranks = 1) {
    const std::string report = scratch_.path("report-%r.json");
    expect_outcome(go_on(overrides, {}, ranks, {{"SIMGPU_REPORT", report}}), 0);
    return Json::parse(read_text(scratch_.path(fmt::format("report-{}.json", ranks - 1))));
  }

  const Command kSmall{"train.steps=2", "checkpoint.every=1", "data.sequence_length=8", "train.global_batch_size=2",
                       "train.micro_batch_size=1"};
  Scratch scratch_;
  std::string first_ = scratch_.path("first"), dir_ = scratch_.path("run");
};

// Every tensor is an allocation of the driver's. A quick run looks at each 20th.
TEST_F(FaultOnGpus, OutOfMemoryAtAnyAllocationEndsTheRun) {
  SKIP_UNLESS_SIMULATED();
  const Command options{"run.cuda_pool=false"};
  const Json made = counts(options);
  const int all = made.at("allocations").get<int>() + made.at("pinned_allocations").get<int>();
  const int step = is_full_run() ? 1 : 20;
  int ends = 0;
  for (int n = 1; n <= all; n += step, ++ends) {
    SCOPED_TRACE(fmt::format("allocation {} of {}", n, all));
    const Outcome outcome = go_on(options, {{"SIMGPU_FAIL_ALLOCATION", std::to_string(n)}});
    expect_end(outcome, 70, {"out of memory on ", " are not there; in use: "});
    if (HasFailure()) return;
  }
  fmt::print("{} of {} allocations failed, each in a run of its own\n", ends, all);
}

TEST_F(FaultOnGpus, OutOfMemoryOnOneRankEndsAll) {
  SKIP_UNLESS_SIMULATED();
  const Command options{"run.cuda_pool=false", "parallel.expert=2"};
  const Json made = counts(options, 2);
  const int all = made.at("allocations").get<int>() + made.at("pinned_allocations").get<int>();
  for (const int n : {all / 2, all - 10}) {
    SCOPED_TRACE(fmt::format("allocation {} of {}", n, all));
    expect_end(go_on(options, {{"SIMGPU_FAIL_ALLOCATION", std::to_string(n)}}, 2), 70,
               {"[rank 1] switchyard: out of memory on cuda", "in use: weights ", "; the largest: "});
  }
}

TEST_F(FaultOnGpus, AKernelFaultEndsAllRanks) {
  SKIP_UNLESS_SIMULATED();
  const Command options{"parallel.expert=2"};
  const int all = counts(options, 2).at("launches");
  for (const int n : {1, all / 2, all - 3}) {
    SCOPED_TRACE(fmt::format("launch {} of {}", n, all));
    expect_end(go_on(options, {{"SIMGPU_FAIL_LAUNCH", std::to_string(n)}}, 2), 70,
               {"[rank 1] switchyard: CUDA: ", "an illegal memory access was encountered"});
  }
}

// Its ranges end while the error passes.
TEST_F(FaultOnGpus, AKernelFaultEndsATracedRunAlike) {
  SKIP_UNLESS_SIMULATED();
  const Command options{"--trace", scratch_.path("trace.json"), "--trace-steps", "2:2"};
  const int all = counts(options).at("launches");
  expect_end(go_on(options, {{"SIMGPU_FAIL_LAUNCH", std::to_string(all / 2)}}), 70,
             {"switchyard: CUDA: ", "an illegal memory access was encountered"});
  EXPECT_TRUE(fs::exists(fs::path(dir_) / "verdict.json"));
}

TEST_F(FaultOnGpus, ACheckedRunTellsWhichOperationFaulted) {
  SKIP_UNLESS_SIMULATED();
  const Command options{"run.cuda_checked=true", "data.valid=[]"};
  const Json made = counts(options);
  const int all = made.at("launches");
  std::set<std::string> told;
  std::vector<int> launches{all};  // the last one is of AdamW
  for (int n = 5; n < all; n += all / 8) launches.push_back(n);
  for (const int n : launches) {
    const Outcome outcome = go_on(options, {{"SIMGPU_FAIL_LAUNCH", std::to_string(n)}});
    expect_end(outcome, 70, {"an illegal memory access was encountered"});
    told.insert(outcome.err);
  }
  EXPECT_THAT(
      told,
      testing::Contains(testing::ContainsRegex(
          "switchyard: [A-Za-z]+ \\(forward\\) of f32 \\([0-9, ]+\\).*, applied in [a-z_]+\\.cpp:[0-9]+: CUDA: ")));
  EXPECT_THAT(told, testing::Contains(
                        testing::ContainsRegex("\\(backward\\) of f32 \\([0-9, ]+\\).*, applied in [a-z_]+\\.cpp:")));
  EXPECT_THAT(told, testing::Contains(testing::ContainsRegex("AdamW \\(update\\), applied in step\\.cpp:[0-9]+: ")));
}

const Environment kImpatient{{"SIMGPU_NCCL_TIMEOUT", "3"}};

TEST_F(FaultOnGpus, APeerThatStopsItsNcclEndsAll) {
  SKIP_UNLESS_SIMULATED();
  expect_end(go_on({"parallel.expert=2"}, {{"SIMGPU_NCCL_STOPS_1", "1"}}, 2, kImpatient), 70,
             {"[rank 0] switchyard: ", "NCCL failed, last started here: ", "deadlock: "});
}

TEST_F(FaultOnGpus, APeerThatCallsSomethingElseEndsAll) {
  SKIP_UNLESS_SIMULATED();
  const Outcome outcome = go_on({"parallel.expert=2"}, {{"SIMGPU_NCCL_STRAYS_1", "2"}}, 2, kImpatient);
  expect_end(outcome, 70, {"NCCL failed, last started here: ", "mismatch: rank "});
}

// mpirun notices a process that has died, and ends the others; what it says is its own.
TEST_F(FaultOnGpus, APeerThatDiesEndsAll) {
  SKIP_UNLESS_GPUS(2);
  const Command options{"parallel.expert=2", "train.steps=1000", "checkpoint.every=1000"};
  Process process(command(options, {}, 2), gpus(2, kImpatient));
  const pid_t rank = process.rank(1);
  ASSERT_TRUE(wait_until([&] { return process.is_over() || last_step(dir_) >= 3; })) << process.err();
  kill(rank, SIGKILL);
  const auto has_ended = [&] { return process.is_over() && process.family().empty(); };
  EXPECT_TRUE(wait_until(has_ended, kLimitOfAnError)) << "processes are left";
  EXPECT_NE(process.wait(0).code, 0);
  expect_first_step_whole();
}

// As does one that is held up: the watchdog is the last resort where NCCL does not fail.
TEST_F(FaultOnGpus, APeerThatHangsEndsAllByTheWatchdog) {
  SKIP_UNLESS_GPUS(2);
  constexpr double kWatchdog = 10;
  const Command options{"parallel.expert=2", "train.steps=1000", "checkpoint.every=1000",
                        fmt::format("run.watchdog={}", kWatchdog)};
  Process process(command(options, {}, 2), gpus(2, {{"SIMGPU_NCCL_TIMEOUT", "60"}}));
  const pid_t rank = process.rank(1);
  ASSERT_TRUE(wait_until([&] { return process.is_over() || last_step(dir_) >= 3; })) << process.err();
  expect_end_by_watchdog(process, rank, kWatchdog, {"took longer than run.watchdog=10 seconds", "; last collective: "});
  expect_first_step_whole();
}

}  // namespace
}  // namespace switchyard::test
