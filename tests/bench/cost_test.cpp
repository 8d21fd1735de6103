// What a step costs, against sums by hand for the configs of configs/bench.
#include "switchyard/bench/cost.h"

#include "switchyard/train/experiment.h"

#include "tests/support/ranks.h"

namespace switchyard::bench {
namespace {

train::ExperimentConfig config_named(const std::string& name, const std::vector<std::string>& overrides = {}) {
  return train::parse_experiment(config::read_sources("configs/bench/" + name + ".yaml"), overrides,
                                 train::without_run_and_data())
      .config;
}

// On rank 0 of `ranks`.
ExpectedMemory memory_of(const train::ExperimentConfig& config, int ranks) {
  ExpectedMemory memory;
  test::run_ranks(ranks, [&](comm::World& world) {
    const parallel::Mesh mesh(config.parallel, world);
    model::Decoder model(config.model, mesh, config.parallel.dispatcher, config.train.dtype);
    const ExpectedMemory own = expected_memory(config, model, mesh);
    if (world.rank() == 0) memory = own;
  });
  return memory;
}

// 6 x (layers x (attention + router + chosen experts) + head) + 12 x mean keys x layers x width of the heads
TEST(Cost, CountsTheArithmeticOfTheBenchConfigs) {
  struct Row {
    const char* name;
    int64_t layers, attention, router, experts, head, heads_width, mean_keys;
  };
  for (const Row& r :
       {Row{"mixtral-s", 8, 3 * 512 * 512, 8 * 512, 2 * 3 * 1024 * 512, 8192 * 512, 512, 256},
        Row{"olmoe-s", 8, 4 * 512 * 512, 64 * 512, 8 * 3 * 256 * 512, 8192 * 512, 512, 256},
        Row{"qwen3moe-s", 6, 2 * 512 * 512 + 2 * 128 * 512, 32 * 512, 4 * 3 * 384 * 512, 8192 * 512, 512, 256},
        Row{"quickstart-s", 4, 4 * 256 * 256, 16 * 256, 3 * 3 * 256 * 256, 4096 * 256, 256, 128}}) {
    const train::ExperimentConfig c = config_named(r.name);
    const int64_t expected =
        6 * (r.layers * (r.attention + r.router + r.experts) + r.head) + 12 * r.mean_keys * r.layers * r.heads_width;
    EXPECT_EQ(flops_per_token(c.model, c.data.sequence_length), static_cast<double>(expected)) << r.name;
  }
}

TEST(Cost, CountsOnlyTheKeysInsideAWindow) {
  const train::ExperimentConfig whole = config_named("mixtral-s"),
                                near = config_named("mixtral-s", {"model.attention.window=64"});
  // Position i sees min(i, 64) keys, counted as the triangle of the first 64 and a band after it.
  const double keys = (64.0 * 64 / 2 + (512 - 64) * 64) / 512;
  EXPECT_DOUBLE_EQ(flops_per_token(whole.model, 512) - flops_per_token(near.model, 512), 12 * (256 - keys) * 8 * 512);
}

TEST(Cost, ExpectsTheWeightsAndStatesOfEveryParameter) {
  // Attention 4 x 256 x 256 and three biases, router, 16 experts and the shared one, its gate, two norms; embedding,
  // head, last norm.
  const int64_t layer = 4 * 256 * 256 + 3 * 256 + 16 * 256 + 17 * 3 * 256 * 256 + 256 + 2 * 256;
  const int64_t all = 4 * layer + 2 * 4096 * 256 + 256, experts = 4 * 16 * 3 * 256 * 256;
  const ExpectedMemory f32 = memory_of(config_named("quickstart-s", {"train.dtype=f32"}), 1);
  EXPECT_EQ(f32.weights, 4 * all);
  EXPECT_EQ(f32.gradients, 4 * all);
  EXPECT_EQ(f32.optimizer, 8 * all);
  const ExpectedMemory bf16 = memory_of(config_named("quickstart-s", {"train.dtype=bf16", "parallel.data=2",
                                                                      "parallel.expert=2", "train.micro_batch_size=8"}),
                                        2);
  EXPECT_EQ(bf16.weights, 2 * (all - experts / 2));
  EXPECT_EQ(bf16.gradients, 4 * (all - experts / 2));
  EXPECT_EQ(bf16.optimizer, 12 * ((all - experts) / 2 + experts / 2)) << "masters and moments, each share once";
}

TEST(Cost, SharesWeightsAndStatesAsTheLayoutDoes) {
  // Four layers: over tensor ranks attention with its biases, the shared expert, embedding and head are split; router,
  // gate and norms are whole; over expert ranks and those that share experts the 16 experts.
  const int64_t split = 4 * (4 * 256 * 256 + 3 * 256 + 3 * 256 * 256) + 2 * 4096 * 256;
  const int64_t whole = 4 * (16 * 256 + 256 + 2 * 256) + 256, experts = 4 * 16 * 3 * 256 * 256;
  struct Row {
    int ranks;
    std::vector<std::string> layout;
    int64_t held, updated;
  };
  for (const Row& row :
       {Row{1, {}, split + whole + experts, split + whole + experts},
        Row{2, {"parallel.tensor=2"}, split / 2 + whole + experts, (split + whole + experts) / 2},
        Row{2, {"parallel.expert=2"}, split + whole + experts / 2, (split + whole + experts) / 2},
        Row{2,
            {"parallel.tensor=2", "parallel.expert_tensor=2"},
            split / 2 + whole + experts / 2,
            (split + whole + experts) / 2},
        Row{4,
            {"parallel.tensor=2", "parallel.expert=2"},
            split / 2 + whole + experts / 2,
            (split + whole + experts) / 4},
        Row{2, {"parallel.tensor=2", "parallel.zero=0"}, split / 2 + whole + experts, split / 2 + whole + experts}}) {
    SCOPED_TRACE(fmt::format("{} ranks, {}", row.ranks, fmt::join(row.layout, " ")));
    auto overrides = row.layout;
    overrides.push_back("train.dtype=f32");
    const ExpectedMemory memory = memory_of(config_named("quickstart-s", overrides), row.ranks);
    EXPECT_EQ(memory.weights, 4 * row.held);
    EXPECT_EQ(memory.gradients, 4 * row.held);
    EXPECT_EQ(memory.optimizer, 8 * row.updated);
  }
}

TEST(Cost, CountsTheBiasesOfDenseLayers) {
  const std::vector<std::string> dense{"model.family=generic", "model.moe.layers=none", "train.dtype=f32",
                                       "model.mlp.intermediate_size=300"};
  auto biased = dense;
  biased.push_back("model.mlp.bias=true");
  EXPECT_EQ(memory_of(config_named("quickstart-s", biased), 1).weights,
            memory_of(config_named("quickstart-s", dense), 1).weights + 4 * 4 * (2 * 300 + 256));
}

}  // namespace
}  // namespace switchyard::bench
