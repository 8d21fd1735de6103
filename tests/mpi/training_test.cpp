// The checks of tests/parallel on processes.
#include "tests/mpi/world.h"
#include "tests/parallel/training_checks.h"

namespace switchyard {
namespace {

std::vector<test::ToyLayout> layouts() {
  std::vector<test::ToyLayout> rows;
  for (int64_t expert = 1; expert <= test::world().size(); expert *= 2)
    for (const bool shard : {true, false})
      for (const DType dtype : {DType::f64, DType::bf16}) rows.push_back({expert, 500, shard, dtype});
  return rows;
}

TEST(MpiGradientSync, SumsOverReplicasAndMicroBatches) {
  for (const auto& layout : layouts()) test::check_gradients_are_summed(test::world(), layout);
}

TEST(MpiZero, ShardedAdamWEqualsPlain) {
  for (const auto& layout : layouts()) test::check_adamw(test::world(), layout);
}

TEST(MpiZero, EveryElementHasOneOwnerWhoseMasterReachesAllReplicas) {
  for (const auto& layout : layouts()) test::check_ownership(test::world(), layout);
}

}  // namespace
}  // namespace switchyard
