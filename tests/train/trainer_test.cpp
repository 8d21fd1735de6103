// A run whose other rank never comes to the first agreement.
#include "switchyard/train/trainer.h"

#include "tests/support/ranks.h"
#include "tests/train/tiny_experiment.h"

#include <unistd.h>

namespace switchyard::train {
namespace {

void train_without_rank_1() {
  Experiment experiment{.config = test::tiny_experiment(), .origins = {}};
  experiment.config.run.dir = "a-run-that-never-begins";
  experiment.config.run.watchdog = 1;
  test::run_ranks(2, [&](comm::World& world) {
    if (world.rank() == 1)
      for (;;) pause();
    run_training(experiment, world, {});
  });
}

TEST(TrainerDeathTest, ARankThatWaitsForTheFirstAgreementEndsByTheWatchdog) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(train_without_rank_1(), testing::ExitedWithCode(76), "the start took longer than run.watchdog=1 seconds");
}

}  // namespace
}  // namespace switchyard::train
