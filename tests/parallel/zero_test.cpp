#include "tests/parallel/training_checks.h"
#include "tests/support/ranks.h"

#include <mutex>

namespace switchyard::parallel {
namespace {

using test::run_ranks;
using test::ToyLayout;

struct Row {
  int ranks;
  ToyLayout layout;
  const char* why;
};
const std::vector<Row> kRows{
    {1, {}, "a group of one is the identity"},
    {2, {}, "one bucket per view"},
    {2, {.expert = 2}, "experts are not replicated"},
    {4, {.expert = 2, .bucket_bytes = 400}, "two replicas of each expert, many buckets"},
    {4, {.expert = 4, .bucket_bytes = 1}, "a bucket for every parameter"},
    {4, {.bucket_bytes = 600}, "experts on every rank"},
};

template <class Check>
void for_each_row(Check&& check) {
  for (const Row& row : kRows)
    for (const DType dtype : {DType::f64, DType::f32, DType::bf16})
      for (const bool shard : {true, false}) {
        SCOPED_TRACE(fmt::format("{}: {} shard={}", row.why, name_of(dtype), shard));
        ToyLayout layout = row.layout;
        layout.dtype = dtype;
        layout.shard = shard;
        run_ranks(row.ranks, [&](comm::World& world) { check(world, layout); });
      }
}

TEST(GradientSync, SumsOverReplicasAndMicroBatches) { for_each_row(test::check_gradients_are_summed); }

TEST(GradientSync, SendsBucketsWhileBackwardGoesOn) {
  for (const bool shard : {true, false})
    run_ranks(2, [&](comm::World& world) {
      const test::ToyModel model;
      const Mesh mesh = test::toy_mesh(world, 1);
      auto buckets = make_buckets(model.parameters(), mesh, DType::f32, 1, 1);  // one for each parameter
      GradientSync sync(buckets, shard);
      model.backward(mesh, sync, 1);
      EXPECT_EQ(model.num_sent_in_backward(), 2u) << "\"more_experts\" and \"shared\"; \"unused\" comes next";
      EXPECT_EQ(sync.num_under_way(), 0u) << "after finish";
    });
}

TEST(Zero, ShardedAdamWEqualsPlain) { for_each_row(test::check_adamw); }

TEST(Zero, EveryElementHasOneOwnerWhoseMasterReachesAllReplicas) { for_each_row(test::check_ownership); }

TEST(Zero, ShardingDoesNotChangeABit) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    std::mutex mutex;
    std::vector<std::vector<std::vector<double>>> results;
    for (const bool shard : {true, false})
      run_ranks(4, [&](comm::World& world) {
        auto weights = test::check_adamw(world, {.bucket_bytes = 500, .shard = shard, .dtype = dtype});
        const std::lock_guard lock(mutex);
        results.push_back(std::move(weights));
      });
    for (const auto& result : results) EXPECT_EQ(result, results[0]);
  }
}

TEST(Zero, StateOfARankShrinksWithTheReplicas) {
  const auto optimizer_bytes = [](int ranks) {
    int64_t bytes = 0;
    run_ranks(ranks, [&](comm::World& world) {
      const test::ToyModel model;
      const Mesh mesh = test::toy_mesh(world, 1);
      auto buckets = make_buckets(model.parameters(), mesh, DType::bf16, 1);
      const ShardedAdamW optimizer(buckets, {}, true, mesh, 1);
      if (world.rank() == 0) bytes = Allocator::current()->stats(Purpose::optimizer).live_bytes;
    });
    return bytes;
  };
  EXPECT_LT(optimizer_bytes(4) * 2, optimizer_bytes(1));  // a quarter, but for padding
}

TEST(Buckets, ParametersAreAlignedViewsOfFlatStorageInOrder) {
  comm::World world = comm::World::self();
  const test::ToyModel model;
  const Mesh mesh = test::toy_mesh(world, 1);
  const auto buckets = make_buckets(model.parameters(), mesh, DType::bf16, 1, 400);
  size_t seen = 0;
  for (const Bucket& bucket : buckets) {
    int64_t end = 0;
    for (const Segment& segment : bucket.segments) {
      const Tensor value = segment.parameter->value.detach(), grad = segment.leaf->grad;
      EXPECT_EQ(value.storage(), bucket.weights.storage());
      EXPECT_EQ(value.raw() - bucket.weights.raw(), segment.offset * 2);
      EXPECT_EQ(grad.storage(), bucket.grads.storage());
      EXPECT_EQ(grad.raw() - bucket.grads.raw(), segment.offset * 4);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(value.raw()) % 64, 0u);
      EXPECT_GE(segment.offset, end);
      end = segment.offset + segment.count;
      ++seen;
    }
    EXPECT_GE(bucket.weights.numel(), end);
  }
  EXPECT_EQ(seen, model.parameters().size());
  EXPECT_GT(buckets.size(), 2u);
}

}  // namespace
}  // namespace switchyard::parallel
