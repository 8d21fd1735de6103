// Random small configs in random layouts against one rank, in f64 and in f32; ranks are threads.
#include "switchyard/config/parse.h"
#include "switchyard/verify/compare.h"
#include "tests/support/full.h"
#include "tests/support/ranks.h"
#include "tests/verify/random_config.h"

#include <fmt/ranges.h>

namespace switchyard::verify {
namespace {

// Both, and the comparison that rank 0 has at the end.
Comparison compared(const train::ExperimentConfig& config, const Layout& layout, int64_t steps) {
  Comparison comparison;
  test::run_ranks(static_cast<int>(layout.ranks()), [&](comm::World& world) {
    std::optional<Reference> reference;
    if (world.rank() == 0) {
      comm::World one = world.first(1);
      reference = run_reference(in_layout(config, Layout{}), one, random_tokens(), steps);
    }
    const auto result =
        compare(in_layout(config, layout), layout, world, random_tokens(), steps, reference ? &*reference : nullptr);
    if (world.rank() == 0) comparison = result;
  });
  return comparison;
}

std::string text_of(const train::ExperimentConfig& config) { return config::to_flow(config::to_node(config)); }

struct Drawn {
  uint64_t seed;
  train::ExperimentConfig config;
  Layout layout;
};

std::vector<Drawn> draw_all(DType dtype) {
  const uint64_t count = test::is_full_run() ? 100 : 20;
  std::vector<Drawn> all;
  for (uint64_t seed = 1; seed <= count; ++seed) {
    test::Draws draw(seed);
    Drawn& drawn = all.emplace_back(Drawn{seed, test::draw_config(draw), {}});
    EXPECT_NO_THROW(config::validate(drawn.config)) << text_of(drawn.config);
    drawn.layout = test::draw_layout(draw, drawn.config, draw.of<int64_t>({2, 4, 4, 8}));
    drawn.config.train.dtype = dtype;
  }
  return all;
}

void expect_equal(const Drawn& drawn, int64_t steps) {
  const Comparison comparison = compared(drawn.config, drawn.layout, steps);
  EXPECT_TRUE(comparison.failures.empty()) << "seed " << drawn.seed << ", " << drawn.layout.name() << "\n  "
                                           << fmt::format("{}", fmt::join(comparison.failures, "\n  ")) << "\n"
                                           << text_of(drawn.config);
}

TEST(RandomConfigs, TrainInRandomLayoutsLikeOneRank) {
  for (const Drawn& drawn : draw_all(DType::f64)) expect_equal(drawn, 3);
}

// What f32 on one rank, by rounding alone, makes of the first step of f64: its worst gradient; infinite where a token
// goes to other experts.
double rounding_of(const train::ExperimentConfig& config) {
  comm::World one = comm::World::self();
  train::ExperimentConfig wide = in_layout(config, Layout{});
  wide.train.dtype = DType::f64;
  const Reference reference = run_reference(wide, one, random_tokens(), 1);
  return compare(in_layout(config, Layout{}), Layout{}, one, random_tokens(), 1, &reference)
      .gradient.value_or(std::numeric_limits<double>::infinity());
}

// The bound of gradients tells a mistake from rounding where rounding itself stays well below it, as it mostly does:
// two orders of a sum may err by several times what one does.
TEST(RandomConfigs, TakeTheFirstStepInF32LikeOneRank) {
  const double bound = bounds_of(DType::f32).gradient;
  const std::vector<Drawn> all = draw_all(DType::f32);
  int64_t judged = 0;
  for (const Drawn& drawn : all) {
    if (rounding_of(drawn.config) > bound / 4) continue;
    ++judged;
    expect_equal(drawn, 1);
  }
  EXPECT_GE(judged * 10, std::ssize(all) * 7) << judged << " of " << all.size();
}

}  // namespace
}  // namespace switchyard::verify
