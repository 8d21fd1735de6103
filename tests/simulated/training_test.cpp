// The same trainings on the CPU and on simulated GPUs.
#include "tests/simulated/gpus.h"
#include "tests/support/full.h"

namespace switchyard::test {
namespace {

using Records = std::vector<Json>;

struct LayoutOnGpus {
  const char* name;
  int ranks;
  Command overrides;
  double bound = 1e-5;  // of losses, gradient norms and the first step's gradients
  int steps = 3;        // of a full run; a usual one makes 3, or the 20 of one GPU
};
void PrintTo(const LayoutOnGpus& row, std::ostream* out) { *out << row.name; }

class OnGpus : public testing::TestWithParam<LayoutOnGpus> {
 protected:
  const Scratch scratch_;
};

TEST_P(OnGpus, TrainsAsOnTheCpu) {
  const LayoutOnGpus& row = GetParam();
  SKIP_UNLESS_GPUS(row.ranks);
  const std::string gpu = scratch_.path("gpu"), cpu = scratch_.path("cpu");
  const int steps = is_full_run() || row.ranks == 1 ? row.steps : 3;
  const Command overrides =
      row.overrides + Command{fmt::format("train.steps={}", steps), "checkpoint.every=1", "checkpoint.keep=20"};
  ASSERT_NO_FATAL_FAILURE(must_train_on_gpus(row.ranks, overrides, gpu));
  ASSERT_NO_FATAL_FAILURE(must_train_on_cpu(row.ranks, overrides, cpu));
  const Records a = metrics_of(gpu), b = metrics_of(cpu);
  for (const char* key : {"loss", "grad_norm"}) EXPECT_LE(largest_difference(a, b, key), row.bound) << key;
  EXPECT_EQ(a.front().at("load/1/counts"), b.front().at("load/1/counts"));
  EXPECT_EQ(a.front().at("data_hash"), b.front().at("data_hash"));
  EXPECT_THAT(read_text(gpu + "/log/rank-0000.log"),
              testing::HasSubstr("products by cuBLASLt, as chosen in step 1:\nforward R="));
  // After one step the first moment is the gradient, but for a factor.
  expect_outcome(run({program(), "checkpoint", "diff", checkpoint_of(gpu, 1), checkpoint_of(cpu, 1), "--only",
                      "optimizer/exp_avg/*", "--bound", fmt::format("{}", row.bound)}),
                 0);
}

INSTANTIATE_TEST_SUITE_P(
    Simulated, OnGpus,
    testing::Values(LayoutOnGpus{"One", 1, {}, 1e-5, 20}, LayoutOnGpus{"OneBf16", 1, {"train.dtype=bf16"}, 2e-3},
                    LayoutOnGpus{"OneWithRecompute", 1, {"train.recompute=full"}},
                    LayoutOnGpus{"OneWithDocuments", 1, {"data.document_mask=true", "model.attention.window=16"}},
                    LayoutOnGpus{"OneWithoutPool", 1, {"run.cuda_pool=false", "run.cuda_checked=true"}},
                    LayoutOnGpus{"Data2", 2, {}, 1e-5, 20},
                    LayoutOnGpus{"Data2Expert2", 2, {"parallel.expert=2"}, 1e-5, 20},
                    LayoutOnGpus{"Data2Expert2Checked", 2, {"parallel.expert=2", "run.cuda_checked=true"}},
                    LayoutOnGpus{"Data2Expert2AllGather", 2, {"parallel.expert=2", "parallel.dispatcher=allgather"}},
                    LayoutOnGpus{"Data2Expert2WithoutZero", 2, {"parallel.expert=2", "parallel.zero=0"}},
                    LayoutOnGpus{"Tensor2Expert2ExpertTensor2",
                                 4,
                                 {"parallel.tensor=2", "parallel.expert=2", "parallel.expert_tensor=2"}},
                    LayoutOnGpus{"Tensor2", 2, {"parallel.tensor=2"}, 1e-5, 20},
                    LayoutOnGpus{"Tensor2Bf16", 2, {"parallel.tensor=2", "train.dtype=bf16"}, 2e-3},
                    LayoutOnGpus{"Data4Expert4Hierarchical",
                                 4,
                                 {"parallel.expert=4", "parallel.dispatcher=hierarchical", "parallel.ranks_per_node=2",
                                  "train.micro_batch_size=1"},
                                 1e-5,
                                 20},
                    LayoutOnGpus{"Data2Tensor2Expert4", 4, {"parallel.tensor=2", "parallel.expert=4"}, 1e-5, 20}),
    [](const auto& row) { return std::string(row.param.name); });

// The order of blocks, warps and streams is drawn from the seed.
TEST(Simulated, GivesTheSameBitsInAnyOrder) {
  for (const int ranks : {1, 2}) {
    SCOPED_TRACE(fmt::format("{} ranks", ranks));
    if (ranks > gpus_there()) continue;
    const Scratch scratch;
    const Command layout{fmt::format("parallel.expert={}", ranks)};
    for (const char* seed : {"1", "2"})
      ASSERT_NO_FATAL_FAILURE(must_train_on_gpus(ranks, layout, scratch.path(seed), {{"SIMGPU_SEED", seed}}));
    const Command diff{program(), "checkpoint", "diff", scratch.path("1"), scratch.path("2")};
    expect_outcome(run(diff), 0);
  }
}

TEST(Simulated, ResumesWithTheSameBits) {
  const Scratch scratch;
  const Command steps{"train.steps=4", "checkpoint.every=2"};
  ASSERT_NO_FATAL_FAILURE(must_train_on_gpus(1, steps, scratch.path("whole")));
  fs::copy(scratch.path("whole"), scratch.path("resumed"), fs::copy_options::recursive);
  fs::remove_all(fs::path(scratch.path("resumed")) / "checkpoints/step-00000004");
  ASSERT_NO_FATAL_FAILURE(must_train_on_gpus(1, steps, scratch.path("resumed")));
  expect_outcome(run({program(), "checkpoint", "diff", scratch.path("whole"), scratch.path("resumed")}), 0);
}

// A checkpoint does not say on what it was made.
TEST(Simulated, GoesOnWhereTheCpuStoppedAndBack) {
  const Scratch scratch;
  const std::string moved = scratch.path("moved"), cpu = scratch.path("cpu");
  const Command all{"train.steps=6", "checkpoint.every=2"};
  const auto to = [&](const char* device, int steps) {
    const Train part{"sim-tiny", 1, all + Command{fmt::format("run.device={}", device)}};
    const Outcome outcome =
        train(part, moved, gpus(1, {{"SWITCHYARD_FAULT", fmt::format("error:{}:0", steps + 1)}}), 10 * kPatience);
    expect_outcome(outcome, steps == 6 ? 0 : 70);
  };
  ASSERT_NO_FATAL_FAILURE(to("cpu", 2));
  ASSERT_NO_FATAL_FAILURE(to("cuda", 4));
  ASSERT_NO_FATAL_FAILURE(to("cpu", 6));
  ASSERT_NO_FATAL_FAILURE(must_train_on_cpu(1, all, cpu));
  EXPECT_LE(largest_difference(metrics_of(moved), metrics_of(cpu), "loss"), 1e-5);
}

}  // namespace
}  // namespace switchyard::test
