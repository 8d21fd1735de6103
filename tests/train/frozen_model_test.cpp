// A model for evaluation holds the weights of a checkpoint, and memory for nothing else.
#include "tests/support/ranks.h"
#include "tests/support/scratch.h"
#include "tests/train/tiny_experiment.h"

namespace switchyard::train {
namespace {

TEST(FrozenModel, HoldsTheStoredWeightsAndNoGradients) {
  const test::Scratch scratch;
  ExperimentConfig config = test::tiny_experiment();
  config.train.dtype = DType::f32;
  comm::World world = comm::World::self();
  std::vector<Tensor> trained;
  Session session(config, world);
  for (nn::Parameter* p : session.model.parameters()) trained.push_back(p->value.detach());
  checkpoint::Meta meta;
  ASSERT_TRUE(checkpoint::save(scratch.path("run"), world.all(), session.entries(), meta, 1).saved);
  const auto source = convert::WeightSource::find(scratch.path("run"), world.all(), {});
  for (const DType dtype : {DType::f32, DType::bf16}) {
    Allocator& allocator = *Allocator::current();
    const auto live = [&](Purpose purpose) { return allocator.stats(purpose).live_bytes; };
    const int64_t gradients = live(Purpose::gradients), weights = live(Purpose::weights),
                  all = allocator.total().live_bytes;
    FrozenModel frozen(config, world, dtype, source);
    EXPECT_EQ(live(Purpose::gradients), gradients);
    EXPECT_GT(live(Purpose::weights), weights);
    EXPECT_LE(allocator.total().live_bytes - all, 2 * (live(Purpose::weights) - weights)) << "weights and little else";
    const auto parameters = frozen.model.parameters();
    ASSERT_EQ(parameters.size(), trained.size());
    for (size_t i = 0; i < trained.size(); ++i) {
      Tensor expected = Tensor::empty(trained[i].shape(), dtype);
      expected.copy_from(trained[i]);
      EXPECT_EQ(parameters[i]->value.to_vector<float>(), expected.to_vector<float>()) << parameters[i]->name;
    }
  }
}

}  // namespace
}  // namespace switchyard::train
