// Random small configs in random layouts against one rank, in f64; ranks are threads.
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

TEST(RandomConfigs, TrainInRandomLayoutsLikeOneRank) {
  constexpr int64_t kSteps = 3;
  const uint64_t count = test::is_full_run() ? 100 : 20;
  for (uint64_t seed = 1; seed <= count; ++seed) {
    test::Draws draw(seed);
    const train::ExperimentConfig config = test::draw_config(draw);
    ASSERT_NO_THROW(config::validate(config)) << text_of(config);
    const Layout layout = test::draw_layout(draw, config, draw.of<int64_t>({2, 4, 4, 8}));
    const Comparison comparison = compared(config, layout, kSteps);
    EXPECT_TRUE(comparison.failures.empty()) << "seed " << seed << ", " << layout.name() << "\n  "
                                             << fmt::format("{}", fmt::join(comparison.failures, "\n  ")) << "\n"
                                             << text_of(config);
  }
}

}  // namespace
}  // namespace switchyard::verify
