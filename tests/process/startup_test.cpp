// What a run says before its first step: its size, layout, cores, disk and memory.
#include "tests/support/runs.h"

#include <gmock/gmock.h>

#include <sched.h>

namespace switchyard::test {
namespace {

// The parts stand in this order.
void expect_in_order(const std::string& text, const std::vector<std::string>& parts) {
  size_t at = 0;
  for (const std::string& part : parts) {
    const size_t found = text.find(part, at);
    ASSERT_NE(found, std::string::npos) << "no '" << part << "' from byte " << at << " on in: " << text;
    at = found + part.size();
  }
}

TEST(Startup, SaysWhatTheRunIsBeforeTheFirstStep) {
  const Scratch scratch;
  const Outcome outcome = train({"tiny", 2, {"train.steps=1", "parallel.expert=2"}}, scratch.path("run"));
  expect_outcome(outcome, 0);
  expect_in_order(outcome.out,
                  {"model      ",
                   " parameters, ",
                   " active per token, 2 layers, f32\n",
                   "layout     2 ranks: data 2, experts split over 2, each held by 1; ZeRO 1; 1 thread per rank, ",
                   "core",
                   "dispatch   ",
                   "batch      8 sequences of 32 tokens = 256 tokens a step, in micro-batches of 2\n",
                   "data       ",
                   " samples an epoch\n",
                   "disk       ",
                   " free, a checkpoint takes ",
                   "memory ",
                   "now",
                   "peak   in a step\n",
                   "  weights ",
                   "  gradients ",
                   "  optimizer ",
                   "  activations ",
                   "  all ",
                   "step 1/1 "});
  EXPECT_EQ(count_of(outcome.err, "this rank may use"), 0) << outcome.err;
}

TEST(Startup, WarnsOfFewerCoresThanThreads) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  ASSERT_EQ(sched_getaffinity(0, sizeof allowed, &allowed), 0);
  int core = 0;
  while (!CPU_ISSET(core, &allowed)) ++core;
  const Scratch scratch;
  const Command bound{"taskset", "-c", std::to_string(core)};
  const Outcome outcome =
      run(bound + Train{"tiny", 1, {"train.steps=1", "run.threads=2"}}.command(scratch.path("run")));
  expect_outcome(outcome, 0, {fmt::format("2 threads per rank, rank 0 bound to cores {} of ", core)});
  EXPECT_THAT(outcome.err, testing::HasSubstr("2 threads, but this rank may use 1 core only"));
  EXPECT_LT(outcome.text().find("2 threads per rank"), outcome.text().find("step 1/1 "));
}

TEST(Startup, WarnsOfKeysThatDoNothingOnTheCpu) {
  const Scratch scratch;
  const Outcome outcome =
      train({"tiny", 2, {"train.steps=1", "run.device=cpu", "run.cuda_checked=true"}}, scratch.path("run"));
  expect_outcome(outcome, 0);
  EXPECT_EQ(count_of(outcome.err, "run.cuda_checked and run.cuda_pool do nothing: this run is on the CPU"), 1);
}

TEST(Startup, WarnsOfARunThatEndsWhileItWarmsUp) {
  const Scratch scratch;
  expect_outcome(train({"tiny", 1, {"train.steps=1", "schedule.warmup_steps=2"}}, scratch.path("run")), 0,
                 {"does not reach schedule.lr: train.steps=1 end within schedule.warmup_steps=2"});
  const Outcome in_time = train({"tiny", 1, {"train.steps=1", "schedule.warmup_steps=1"}}, scratch.path("other"));
  EXPECT_EQ(count_of(in_time.text(), "schedule.lr"), 0) << in_time.text();
}

// srun without --mpi=pmix starts programs that know nothing of each other.
TEST(Startup, RefusesRanksOfALauncherThatMpiDoesNotKnow) {
  const Scratch scratch;
  const Command words = Train{"tiny", 1, {"train.steps=1"}}.command(scratch.path("run"));
  expect_outcome(run(words, {{"SLURM_PROCID", "3"}}), 64, {"task 3 of srun", "srun --mpi=pmix"});
}

// MPI is asked for where a launcher has started ranks, and nowhere else.
TEST(ProgramAlone, NeedsNoMpiForOneRank) {
  const Scratch scratch;
  const std::string alone = scratch.path("switchyard");
  fs::copy_file(program(), alone);  // without the library that is linked to MPI
  const Outcome libraries = run({"ldd", alone});
  expect_outcome(libraries, 0, {"libc.so"});
  EXPECT_EQ(libraries.text().find("libmpi"), std::string::npos) << libraries.text();
  Command words = Train{"tiny", 1, {"train.steps=1"}}.command(scratch.path("run"));
  words[0] = alone;
  expect_outcome(run(words), 0);
  const Outcome launched = run(on_ranks(2, words), {}, kLimitOfAMistake);
  expect_outcome(launched, 70, {"MPI cannot be loaded: libswitchyard_mpi.so", "install Open MPI"});
}

}  // namespace
}  // namespace switchyard::test
