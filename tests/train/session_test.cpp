// The state of a training, taken through checkpoints from one layout to others and back: no byte of weights, moments or
// router biases changes, and every rank computes with the masters it has loaded.
#include "switchyard/checkpoint/inspect.h"
#include "tests/support/ranks.h"
#include "tests/support/scratch.h"
#include "tests/train/tiny_experiment.h"

namespace switchyard::train {
namespace {

struct Layout {
  int ranks;
  int64_t expert, zero, tensor = 1, expert_tensor = 1;
};

void PrintTo(const Layout& layout, std::ostream* out) {
  *out << fmt::format("{} ranks, expert {}, zero {}, tensor {}, expert_tensor {}", layout.ranks, layout.expert,
                      layout.zero, layout.tensor, layout.expert_tensor);
}

class Reshard : public testing::TestWithParam<DType> {
 protected:
  // Initial weights of another seed are other weights: what comes out as it was has been loaded. Sizes that four tensor
  // ranks share, but for heads of keys and values, which they hold twice, and the vocabulary of 11.
  ExperimentConfig experiment(const Layout& layout, int64_t seed) const {
    ExperimentConfig config = test::tiny_experiment();
    config.run.seed = seed;
    config.train.dtype = GetParam();
    config.parallel.expert = layout.expert;
    config.parallel.zero = layout.zero;
    config.parallel.tensor = layout.tensor;
    config.parallel.expert_tensor = layout.expert_tensor;
    config.data.sequence_length = 8;
    config.model.attention = {.num_heads = 4, .num_kv_heads = 2, .head_dim = 4, .qk_norm = model::QkNorm::full};
    config.model.mlp.intermediate_size = 8;
    config.model.moe.intermediate_size = 4;
    config.model.moe.shared.intermediate_size = 4;
    config.model.moe.balance = {{.coefficient = 0.01}, {.kind = moe::BalanceKind::bias, .rate = 0.01}};
    return config;
  }

  static void save(Session& session, const std::string& dir) {
    checkpoint::Meta meta;
    meta.step = 3;
    const auto saved = checkpoint::save(dir, session.mesh.all(), session.entries(), meta, 1);
    EXPECT_TRUE(saved.saved) << saved.message;
  }

  void train_and_save(const Layout& layout, const std::string& dir) const {
    const ExperimentConfig config = experiment(layout, 1);
    test::run_ranks(layout.ranks, [&](comm::World& world) {
      Session session(config, world);
      for (int64_t t = 1; t <= 3; ++t)
        train_step(session, test::tiny_batches(config, t, session.mesh.data().rank(), session.mesh.data().size()), t,
                   0.01);
      save(session, dir);
    });
  }

  void load_and_save(const Layout& layout, const std::string& from, const std::string& to) const {
    const ExperimentConfig config = experiment(layout, 2);
    test::run_ranks(layout.ranks, [&](comm::World& world) {
      Session session(config, world);
      const auto found = checkpoint::find(from, world.all());
      check(found.has_value(), "{} holds no checkpoint", from);
      checkpoint::load(*found, world.all(), session.targets());
      session.loaded();
      expect_weights_of_masters(session, *found);
      save(session, to);
    });
    const checkpoint::Report report = checkpoint::diff(from, to);
    EXPECT_EQ(report.code, ExitCode::finished) << report.text;
  }

  // Every rank's part of every parameter, replicas included, is the stored master in the model's dtype.
  static void expect_weights_of_masters(Session& session, const checkpoint::Found& found) {
    std::vector<checkpoint::Target> targets;
    std::vector<std::pair<const nn::Parameter*, Tensor>> masters;
    for (const parallel::Bucket& bucket : session.buckets)
      for (const parallel::Segment& segment : bucket.segments) {
        const nn::Parameter& p = *segment.parameter;
        const DType dtype = found.manifest.find("model/" + p.name)->dtype;
        const Tensor& master =
            masters.emplace_back(&p, Tensor::empty(segment.box.extent, dtype, Purpose::buffers)).second;
        targets.push_back(
            {"model/" + p.name, p.global_shape, dtype, {segment.box, 0, segment.box.numel()}, master.raw()});
      }
    checkpoint::load(found, session.mesh.all(), targets, {.unread = {"optimizer/", "buffer/"}});
    for (const auto& [parameter, master] : masters)
      EXPECT_TRUE(test::same_bits(parameter->value.detach(), master.to(parameter->value.dtype()))) << parameter->name;
  }

  test::Scratch scratch_;
};

TEST_P(Reshard, FromTwoRanksToOneToFourAndBackChangesNoByte) {
  for (const Layout& start : {Layout{2, 2, 1}, {4, 2, 1, 2, 2}}) {
    const std::string trained = scratch_.path(fmt::format("trained-{}", start.ranks)), one = trained + "-one";
    train_and_save(start, trained);
    load_and_save({1, 1, 1}, trained, one);
    int count = 0;
    for (const Layout& four : {Layout{4, 1, 1},
                               {4, 2, 1},
                               {4, 4, 1},
                               {4, 1, 0},
                               {4, 2, 0},
                               {2, 1, 1, 2},
                               {4, 1, 1, 4},
                               {4, 4, 0, 2},
                               {4, 2, 1, 2, 2},
                               {4, 1, 0, 2, 4}}) {
      SCOPED_TRACE(testing::PrintToString(start) + ", " + testing::PrintToString(four));
      const std::string other = fmt::format("{}-other-{}", trained, ++count);
      load_and_save(four, one, other);
      for (const int64_t zero : {0, 1}) {
        Layout back = start;
        back.zero = zero;
        load_and_save(back, other, fmt::format("{}-back-{}", other, zero));
        const checkpoint::Report report = checkpoint::diff(trained, fmt::format("{}-back-{}", other, zero));
        EXPECT_EQ(report.code, ExitCode::finished) << report.text;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Dtype, Reshard, testing::Values(DType::f32, DType::bf16),
                         [](const auto& row) { return std::string(name_of(row.param)); });

}  // namespace
}  // namespace switchyard::train
