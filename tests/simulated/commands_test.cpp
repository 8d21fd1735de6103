// What surrounds training on GPUs: which device a run gets, what is refused, and the other commands.
#include "tests/simulated/gpus.h"

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
  EXPECT_THAT(train_with({}, gpus(1)).text(), testing::HasSubstr("device     Simulated GPU"));
  EXPECT_THAT(train_with({}, gpus(0)).text(), testing::Not(testing::HasSubstr("device ")));
  EXPECT_THAT(train_with({"train.dtype=f64"}, gpus(1)).text(), testing::Not(testing::HasSubstr("device ")));
}

TEST_F(Gpu, IsRefusedWhereItCannotBeHad) {
  const Command cuda{"run.device=cuda"};
  expect_outcome(train_with(cuda, gpus(0)), 64, {"run.device=cuda", "shows no GPU"});
  expect_outcome(train_with(cuda, gpus(1), 2), 64, {"2 ranks on this machine", "1 GPUs"});
  expect_outcome(train_with(cuda, gpus(1, {{"SIMGPU_DRIVER", "12040"}})), 64, {"driver", "12.4"});
  expect_outcome(train_with(cuda + Command{"train.dtype=f64"}, gpus(1)), 64, {"f64", "run.device=cpu"});
}

TEST_F(Gpu, SaysWhatMemoryIsForWhenThereIsNoMore) {
  const Outcome outcome = train_with({"run.device=cuda"}, gpus(1, {{"SIMGPU_MEMORY", "40000000"}}));
  expect_outcome(outcome, 70, {"out of memory on cuda", "in use: weights"});
}

// Rank 1 takes part in no collective of NCCL any more: rank 0 waits for it, and the job ends with rank 0's words.
TEST_F(Gpu, EndsWhenAPeerStops) {
  const Outcome outcome = train_with({"run.device=cuda", "parallel.expert=2"},
                                     gpus(2, {{"SIMGPU_NCCL_STOPS_1", "1"}, {"SIMGPU_NCCL_TIMEOUT", "3"}}), 2);
  EXPECT_NE(outcome.code, 0);
  EXPECT_THAT(outcome.text(), testing::HasSubstr("NCCL failed, last started here"));
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

}  // namespace
}  // namespace switchyard::test
