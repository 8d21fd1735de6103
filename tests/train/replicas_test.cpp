// Ranks that hold the same weights and router biases are compared, and one bit that differs is found and named.
#include "tests/support/ranks.h"
#include "tests/support/scratch.h"
#include "tests/train/tiny_experiment.h"

namespace switchyard::train {
namespace {

struct Flip {
  std::string tensor;
  int rank, first_rank;  // of the change, and of the first that holds the same box
};

// Four ranks, each half of the experts on two of them. After a step, the last bit of the last element is changed.
void expect_flip_is_named(const Flip& flip, int64_t zero) {
  ExperimentConfig config = test::tiny_experiment();
  config.train.global_batch_size = 8;
  config.parallel.expert = 2;
  config.parallel.zero = zero;
  config.model.moe.balance = {{.kind = moe::BalanceKind::bias, .rate = 0.01}};
  test::run_ranks(4, [&](comm::World& world) {
    Session session(config, world);
    train_step(session, test::tiny_batches(config, 1, world.rank(), world.size()), 1, 0.01);
    checkpoint::require_equal_replicas(world.all(), session.replicas(), 1);
    bool is_found = false;
    for (const checkpoint::Replicas& replicas : session.replicas())
      for (const auto& [name, tensor] : replicas.tensors) {
        if (name != flip.tensor) continue;
        is_found = true;
        if (world.rank() == flip.rank) tensor.raw()[tensor.bytes() - 1] ^= std::byte{1};
      }
    EXPECT_TRUE(is_found) << flip.tensor;
    const std::string who = fmt::format("rank {}: step 7: {} is not", flip.rank, flip.tensor);
    const std::string other = fmt::format("what rank {} holds", flip.first_rank);
    test::expect_error(ExitCode::hardware, {who, other},
                       [&] { checkpoint::require_equal_replicas(world.all(), session.replicas(), 7); });
  });
}

TEST(Replicas, OneBitThatDiffersIsNamedOnEveryRankWithBothRanks) {
  for (const int64_t zero : {0, 1})
    for (const Flip& flip :
         {Flip{"model/embedding.weight", 3, 0}, Flip{"model/layers.1.moe.experts.down", 2, 0},
          Flip{"model/layers.2.moe.experts.gate_up", 3, 1}, Flip{"buffer/layers.2.moe.router.selection_bias", 1, 0}}) {
      SCOPED_TRACE(fmt::format("{} of rank {}, zero {}", flip.tensor, flip.rank, zero));
      expect_flip_is_named(flip, zero);
    }
}

}  // namespace
}  // namespace switchyard::train
