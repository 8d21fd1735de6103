// Which layouts are tried, and what a config becomes at tiny scale.
#include "switchyard/verify/layouts.h"
#include "switchyard/verify/scale.h"
#include "tests/train/tiny_experiment.h"

#include <algorithm>
#include <set>

namespace switchyard::verify {
namespace {

std::set<std::string> names_of_fitting(const train::ExperimentConfig& config, int64_t ranks) {
  std::set<std::string> names;
  for (const Layout& layout : layouts_of(config, std::vector<int>(static_cast<size_t>(ranks), 0)).fit)
    names.insert(layout.name());
  return names;
}

TEST(Layouts, OfTwoRanksAreAllProductsAndEveryDispatcher) {
  train::ExperimentConfig config = test::tiny_experiment();
  config.model.moe.intermediate_size = 4;
  config.data.sequence_length = 6;
  config.model.mlp.intermediate_size = 6;
  const auto names = names_of_fitting(config, 2);
  for (const char* degrees : {"dp 2 tp 1", "dp 1 tp 2"}) {
    for (const char* whole_experts : {"ep 1 etp 1 local", "ep 1 etp 2 local", "ep 2 etp 1 allgather",
                                      "ep 2 etp 1 alltoall", "ep 2 etp 1 hierarchical"})
      EXPECT_TRUE(names.contains(fmt::format("{} {} zero 1", degrees, whole_experts))) << degrees << whole_experts;
    EXPECT_TRUE(names.contains(fmt::format("{} ep 1 etp 1 local zero 0", degrees)));
  }
  EXPECT_TRUE(names.contains("dp 1 tp 1 ep 1 etp 1 local zero 0"));
  EXPECT_FALSE(names.contains(Layout{}.name())) << "the reference";
}

TEST(Layouts, ThatDoNotFitHaveTheReasonOfTraining) {
  const train::ExperimentConfig config = test::tiny_experiment();  // 5 positions, two heads, four experts
  const Layouts layouts = layouts_of(config, std::vector<int>(8, 0));
  const auto reason_of = [&](const std::string& degrees) {
    const auto found = std::ranges::find(layouts.misfit, degrees, [](const Misfit& m) { return m.layout.degrees(); });
    return found == layouts.misfit.end() ? "" : found->reason;
  };
  EXPECT_NE(reason_of("dp 1 tp 4 ep 1 etp 1").find("num_heads: 2 is not a multiple of parallel.tensor=4"),
            std::string::npos);
  EXPECT_NE(reason_of("dp 1 tp 2 ep 1 etp 1").find("sequence_length: 5"), std::string::npos);
  EXPECT_NE(reason_of("dp 8 tp 1 ep 8 etp 1").find("num_experts: 4"), std::string::npos);
  EXPECT_NE(reason_of("dp 4 tp 1 ep 1 etp 1").find("global_batch_size: 4"), std::string::npos);
  EXPECT_EQ(reason_of("dp 2 tp 1 ep 2 etp 1"), "");
  for (const Layout& layout : layouts.fit)
    EXPECT_EQ(train::check_world(in_layout(config, layout), layout.ranks()), layout.data) << layout.name();
}

// Of two nodes and the hierarchical dispatcher: (degrees, ranks_per_node) that fit.
std::set<std::pair<std::string, int64_t>> hierarchical(const train::ExperimentConfig& config,
                                                       const std::vector<int>& nodes) {
  std::set<std::pair<std::string, int64_t>> found;
  for (const Layout& layout : layouts_of(config, nodes).fit)
    if (layout.dispatcher == parallel::DispatcherKind::hierarchical)
      found.insert({layout.degrees(), layout.ranks_per_node});
  return found;
}

TEST(Layouts, CrossNodesThatAreThereOrElseMadeUpOnes) {
  train::ExperimentConfig config = test::tiny_experiment();
  config.train.global_batch_size = 8;
  const std::pair<std::string, int64_t> of_two{"dp 2 tp 1 ep 2 etp 1", 1}, pairs{"dp 4 tp 1 ep 2 etp 1", 1},
      all{"dp 4 tp 1 ep 4 etp 1", 2};
  EXPECT_EQ(hierarchical(config, {0, 0, 0, 0}), (std::set{of_two, pairs, all}));
  // Two real nodes of two ranks: pairs of neighbours are inside one, as are the first two ranks, which then see made-up
  // ones.
  EXPECT_EQ(hierarchical(config, {0, 0, 1, 1}), (std::set<std::pair<std::string, int64_t>>{of_two, {all.first, 0}}));
  const Layouts layouts = layouts_of(config, {0, 0, 1, 1});
  EXPECT_TRUE(std::ranges::any_of(layouts.misfit, [&](const Misfit& misfit) {
    return misfit.layout.degrees() == pairs.first && misfit.reason.find("several nodes") != std::string::npos;
  }));
  config.parallel.ranks_per_node = 1;
  EXPECT_EQ(hierarchical(config, {0, 0, 0, 0}),
            (std::set<std::pair<std::string, int64_t>>{{of_two.first, 0}, {pairs.first, 0}, {all.first, 0}}));
}

TEST(Layouts, OfADenseModelShareNoExperts) {
  train::ExperimentConfig config = test::tiny_experiment();
  config.model.moe.layers.reset();
  for (const Layout& layout : layouts_of(config, {0, 0}).fit) EXPECT_EQ(layout.expert * layout.expert_tensor, 1);
}

TEST(Tiny, KeepsRulesAndWhatFits) {
  train::ExperimentConfig config = test::tiny_experiment();
  model::ModelConfig& m = config.model;
  m.num_layers = 30;
  m.moe.layers = moe::LayerPattern{.first = 3, .every = 2};
  m.hidden_size = 4096;
  m.vocab_size = 50257;
  m.mlp.intermediate_size = 11008;
  m.moe.num_experts = 64;
  m.moe.top_k = 6;
  m.moe.intermediate_size = 1406;
  m.attention = {.num_heads = 32, .num_kv_heads = 8, .head_dim = 128};
  m.attention.rope.fraction = 0.25;
  m.attention.window = 4096;
  m.max_position = 8192;
  config.data.sequence_length = 8192;
  config.train.global_batch_size = 64;
  const train::ExperimentConfig small = tiny(config, 8, false);
  EXPECT_EQ(small.model.num_layers, 4);
  for (int64_t i = 0; i < 4; ++i) EXPECT_EQ(small.model.is_moe(i), i >= 2);
  EXPECT_EQ(small.model.hidden_size, 64);
  EXPECT_EQ(small.model.vocab_size, 127) << "odd, as 50257";
  EXPECT_EQ(small.model.moe.intermediate_size, 62) << "even, not a multiple of 4, as 1406";
  EXPECT_EQ(small.model.attention.head_dim, 16);
  EXPECT_EQ(small.model.attention.window, 16);
  EXPECT_EQ(small.data.sequence_length, 32);
  EXPECT_EQ(small.model.moe.num_experts, 64);
  EXPECT_EQ(small.model.moe.top_k, 6);
  EXPECT_EQ(small.train, config.train);
  EXPECT_EQ(names_of_fitting(small, 8), names_of_fitting(config, 8));
  EXPECT_EQ(tiny(config, 8, true).model.vocab_size, 50257);
}

TEST(Tiny, LeavesWhatIsSmall) {
  const train::ExperimentConfig config = test::tiny_experiment();
  train::ExperimentConfig expected = config;
  expected.model.num_layers = 3;
  EXPECT_EQ(tiny(config, 4, false), expected);
}

TEST(Tiny, OneKindOfLayersStaysOneKind) {
  train::ExperimentConfig config = test::tiny_experiment();
  config.model.num_layers = 5;
  config.model.moe.layers = moe::LayerPattern{};
  EXPECT_EQ(tiny(config, 4, false).model.num_layers, 2);
  config.model.moe.layers.reset();
  const auto dense = tiny(config, 4, false).model;
  EXPECT_EQ(dense.num_layers, 2);
  EXPECT_FALSE(dense.is_moe(0) || dense.is_moe(1));
}

}  // namespace
}  // namespace switchyard::verify
