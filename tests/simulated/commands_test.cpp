// What surrounds training on GPUs: which device a run gets, what is refused, and the other commands.
#include "tests/simulated/gpus.h"
#include "tests/support/full.h"

namespace switchyard::test {
namespace {

class Gpu : public testing::Test {
 protected:
  static Outcome train_with(const Command& overrides, const Environment& environment, int ranks = 1) {
    const Scratch scratch;
    return train({"sim-tiny", ranks, overrides + Command{"train.steps=1"}}, scratch.path("run"), environment,
                 10 * kPatience);
  }
};

TEST_F(Gpu, IsTakenByItselfWhereThereIsOne) {
  EXPECT_THAT(train_with({}, gpus(1)).text(), testing::HasSubstr("device     "));
  EXPECT_THAT(train_with({}, gpus(0)).text(), testing::Not(testing::HasSubstr("device ")));
  EXPECT_THAT(train_with({"train.dtype=f64"}, gpus(1)).text(), testing::Not(testing::HasSubstr("device ")));
}

TEST_F(Gpu, IsLeftWhereThereAreFewerThanRanksAndNobodyAskedForOne) {
  expect_outcome(
      train_with({}, gpus(1), 2), 0,
      {"run.device=auto takes the CPU, not the GPUs that are here: 2 ranks on this machine, and it shows 1 GPU: "});
}

// As of Slurm with --gpus-per-task=1: all are number 0, on other places of the bus.
TEST_F(Gpu, IsTheOnlyOneOfEachRankWhereTheLauncherShowsOneEach) {
  SKIP_UNLESS_SIMULATED();
  const auto two_ranks = [](const char* bus_of_the_second) {
    const Scratch scratch;
    const Command words = Train{"sim-tiny", 1, {"train.steps=1", "run.device=cuda"}}.command(scratch.path("run"));
    const Command second{"env", fmt::format("SIMGPU_BUS={}", bus_of_the_second)};
    return run(as_ranks({words, second + words}), gpus(1));
  };
  expect_outcome(two_ranks("2"), 0);
  expect_outcome(two_ranks("1"), 64, {"2 ranks on this machine", "1 GPU:"});
}

TEST_F(Gpu, IsRefusedWhereItCannotBeHad) {
  const Command cuda{"run.device=cuda"};
  expect_outcome(train_with(cuda, gpus(0)), 64, {"run.device=cuda", "shows no GPU"});
  expect_outcome(train_with(cuda, gpus(1), 2), 64, {"2 ranks on this machine", "1 GPU:"});
  expect_outcome(train_with(cuda + Command{"train.dtype=f64"}, gpus(1)), 64, {"f64", "run.device=cpu"});
}

TEST_F(Gpu, IsRefusedWhereItOrItsDriverIsTooOld) {
  SKIP_UNLESS_SIMULATED();
  struct Old {
    const char *setting, *value;
    std::vector<std::string> said;
  };
  std::vector<Old> rows{Old{"SIMGPU_DRIVER", "0", {"no NVIDIA driver", "run.device=cpu needs none"}},
                        Old{"SIMGPU_DRIVER", "12040", {"the driver is for CUDA 12.4", "a newer driver is needed"}},
                        Old{"SIMGPU_CC", "7.5", {"has compute capability 7.5, and 8.0 is the least"}}};
  if (SWITCHYARD_LEAST_CAPABILITY > 80)  // that the program has kernels for
    rows.push_back({"SIMGPU_CC", "8.0", {"has compute capability 8.0", "-DSWITCHYARD_CUDA_ARCHITECTURES=all"}});
  for (const Old& old : rows)
    for (const int ranks : {1, 2}) {
      SCOPED_TRACE(fmt::format("{}={}, {} ranks", old.setting, old.value, ranks));
      const Outcome outcome = train_with({"run.device=cuda"}, gpus(2, {{old.setting, old.value}}), ranks);
      expect_outcome(outcome, 64, old.said);
      expect_one_message(outcome);
    }
}

TEST_F(Gpu, SaysWhatMemoryIsForWhenThereIsNoMore) {
  SKIP_UNLESS_SIMULATED();
  const Outcome outcome = train_with({"run.device=cuda"}, gpus(1, {{"SIMGPU_MEMORY", "40000000"}}));
  expect_outcome(outcome, 70, {"out of memory on cuda", "in use: weights"});
}

// forward, eval and generate of a checkpoint: f32 on both.
TEST_F(Gpu, EvaluatesAndGeneratesAsTheCpu) {
  const Scratch scratch;
  const std::string dir = scratch.path("run");
  ASSERT_NO_FATAL_FAILURE(must_train_on_cpu(1, {"train.steps=4", "model.max_position=64"}, dir));
  const auto loss_with = [&](const Environment& environment) {
    const std::string file = scratch.path("eval.json");
    expect_outcome(run({program(), "eval", dir, "--json", file}, environment, 10 * kPatience), 0);
    return Json::parse(read_text(file)).at("loss").get<double>();
  };
  EXPECT_NEAR(loss_with(gpus(1)) / loss_with({}), 1, 1e-6);
  const Command generate{program(), "generate", dir, "--prompt", "the", "--max-tokens", "8"};
  const Outcome gpu = run(generate, gpus(1), 10 * kPatience), cpu = run(generate);
  expect_outcome(gpu, 0);
  EXPECT_EQ(gpu.out, cpu.out);
}

// The quickstart's own config and its model, on two ranks, as docs/testing-without-a-gpu.md has it.
TEST(SimgpuScript, RunsTheQuickstartAndSaysThatItIsSimulated) {
  SKIP_UNLESS_SIMULATED();
  const int steps = is_full_run() ? 5 : 2;
  const Scratch scratch;
  const Outcome outcome =
      run({source_file("scripts/simgpu.sh"), "mpirun", "-n", "2", "switchyard", "train",
           source_file("configs/quickstart.yaml"), "run.dir=" + scratch.path("run"), "run.device=cuda",
           fmt::format("train.steps={}", steps), "train.global_batch_size=2", "train.micro_batch_size=1",
           "data.sequence_length=64", "eval.batches=1", fmt::format("data.train=[{{path: '{}'}}]", corpus().train),
           fmt::format("data.valid=[{{path: '{}'}}]", corpus().valid)},
          {{"SIMGPU_DEVICES", "2"}}, 10 * kPatience);
  expect_outcome(outcome, 0, {"device     Simulated GPU"});
  EXPECT_TRUE(outcome.out.starts_with("simulated GPUs: 2; the CPU executes their kernels")) << outcome.out;
  EXPECT_EQ(last_step(scratch.path("run")), steps);
}

}  // namespace
}  // namespace switchyard::test
