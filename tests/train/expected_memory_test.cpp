// The memory that a step will need, against sums by hand for configs/bench/quickstart-s.yaml, and against a step.
#include "switchyard/train/expected_memory.h"

#include "switchyard/data/random_step.h"
#include "switchyard/train/experiment.h"
#include "switchyard/train/step.h"

#include "tests/support/ranks.h"

namespace switchyard::train {
namespace {

ExperimentConfig config_with(const std::vector<std::string>& overrides) {
  return parse_experiment(config::read_sources("configs/bench/quickstart-s.yaml"), overrides, without_run_and_data())
      .config;
}

// On rank 0 of `ranks`.
ExpectedMemory memory_of(const ExperimentConfig& config, int ranks) {
  ExpectedMemory memory;
  test::run_ranks(ranks, [&](comm::World& world) {
    const parallel::Mesh mesh(config.parallel, world);
    model::Decoder model(config.model, mesh, config.parallel.dispatcher, config.train.dtype);
    const ExpectedMemory own = expected_memory(config, model, mesh);
    if (world.rank() == 0) memory = own;
  });
  return memory;
}

TEST(ExpectedMemory, ExpectsTheWeightsAndStatesOfEveryParameter) {
  // Attention 4 x 256 x 256 and three biases, router, 16 experts and the shared one, its gate, two norms; embedding,
  // head, last norm.
  const int64_t layer = 4 * 256 * 256 + 3 * 256 + 16 * 256 + 17 * 3 * 256 * 256 + 256 + 2 * 256;
  const int64_t all = 4 * layer + 2 * 4096 * 256 + 256, experts = 4 * 16 * 3 * 256 * 256;
  const ExpectedMemory f32 = memory_of(config_with({"train.dtype=f32"}), 1);
  EXPECT_EQ(f32.weights, 4 * all);
  EXPECT_EQ(f32.gradients, 4 * all);
  EXPECT_EQ(f32.optimizer, 8 * all);
  const ExpectedMemory bf16 = memory_of(
      config_with({"train.dtype=bf16", "parallel.data=2", "parallel.expert=2", "train.micro_batch_size=8"}), 2);
  EXPECT_EQ(bf16.weights, 2 * (all - experts / 2));
  EXPECT_EQ(bf16.gradients, 4 * (all - experts / 2));
  EXPECT_EQ(bf16.optimizer, 12 * ((all - experts) / 2 + experts / 2)) << "masters and moments, each share once";
}

TEST(ExpectedMemory, SharesWeightsAndStatesAsTheLayoutDoes) {
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
    const ExpectedMemory memory = memory_of(config_with(overrides), row.ranks);
    EXPECT_EQ(memory.weights, 4 * row.held);
    EXPECT_EQ(memory.gradients, 4 * row.held);
    EXPECT_EQ(memory.optimizer, 8 * row.updated);
  }
}

TEST(ExpectedMemory, CountsTheBiasesOfDenseLayers) {
  const std::vector<std::string> dense{"model.family=generic", "model.moe.layers=none", "train.dtype=f32",
                                       "model.mlp.intermediate_size=300"};
  auto biased = dense;
  biased.push_back("model.mlp.bias=true");
  EXPECT_EQ(memory_of(config_with(biased), 1).weights,
            memory_of(config_with(dense), 1).weights + 4 * 4 * (2 * 300 + 256));
}

// What two steps take at most on rank 0, per byte that was expected.
struct Shares {
  double all = 0, activations = 0;
};
Shares shares_taken(const ExperimentConfig& given, int ranks = 1) {
  Shares shares;
  test::run_ranks(ranks, [&](comm::World& world) {
    ExperimentConfig config = given;
    fit_to_world(config, world);
    Session session(config, world);
    const ExpectedMemory expected = expected_memory(config, session.model, session.mesh);
    const Allocator& memory = *Allocator::current();
    Allocator::current()->reset_peaks();
    for (int64_t t = 1; t <= 2; ++t)  // weights are packed in the first one
      train_step(session,
                 data::random_step(config.data, config.model.vocab_size, 1, t, ranks, 1, world.rank(), world.size()), t,
                 1e-3);
    if (world.rank() != 0) return;
    const auto share = [](const MemoryStats& taken, int64_t bytes) {
      return static_cast<double>(taken.peak_bytes) / static_cast<double>(bytes);
    };
    shares = {share(memory.total(), expected.total()), share(memory.stats(Purpose::activations), expected.activations)};
  });
  return shares;
}

TEST(ExpectedMemory, IsWhatAStepTakes) {
  for (const char* recompute : {"none", "full"}) {
    SCOPED_TRACE(recompute);
    const ExperimentConfig config =
        config_with({"train.dtype=f32", "train.global_batch_size=1", "train.micro_batch_size=1",
                     "data.sequence_length=512", "model.num_layers=3", "model.moe.num_experts=4",
                     "model.vocab_size=1024", fmt::format("train.recompute={}", recompute)});
    const double share = shares_taken(config).all;
    EXPECT_GT(share, 0.9);
    EXPECT_LT(share, 1.1);
  }
}

// Narrow experts: rows on their way take more than what their gradients do. Every token goes to all experts, so counts
// are even.
TEST(ExpectedMemory, ExpectsTheRowsOfAnExchange) {
  struct Row {
    int ranks;
    std::vector<std::string> layout;
  };
  const std::string one_rank_nodes = "parallel.ranks_per_node=1", nodes_of_two = "parallel.ranks_per_node=2";
  for (const auto& [ranks, layout] :
       {Row{2, {}}, Row{2, {"parallel.expert=2", "parallel.dispatcher=alltoall"}},
        Row{4, {"parallel.expert=4", "parallel.dispatcher=alltoall"}},
        Row{2, {"parallel.expert=2", "parallel.dispatcher=auto"}},
        Row{4, {"parallel.expert=4", "parallel.dispatcher=allgather"}},
        Row{2, {"parallel.expert=2", "parallel.dispatcher=hierarchical", one_rank_nodes}},
        Row{4, {"parallel.expert=4", "parallel.dispatcher=hierarchical", nodes_of_two}},
        Row{2, {"parallel.expert_tensor=2"}}, Row{4, {"parallel.expert=2", "parallel.expert_tensor=2"}}}) {
    SCOPED_TRACE(fmt::format("{} ranks, {}", ranks, fmt::join(layout, " ")));
    auto overrides = layout;
    for (const char* word : {"train.dtype=f32", "train.micro_batch_size=1", "data.sequence_length=256",
                             "model.num_layers=2", "model.moe.num_experts=8", "model.moe.top_k=8",
                             "model.moe.intermediate_size=16", "model.vocab_size=512", "train.recompute=full"})
      overrides.emplace_back(word);
    overrides.push_back(fmt::format("train.global_batch_size={}", ranks));
    const double share = shares_taken(config_with(overrides), ranks).activations;
    EXPECT_GT(share, 0.95);
    EXPECT_LT(share, 1.05);
  }
}

}  // namespace
}  // namespace switchyard::train
