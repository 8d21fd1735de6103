// What a run settles before its first step.
#include "switchyard/train/startup.h"
#include "tests/support/ranks.h"

#include <unistd.h>

namespace switchyard::train {
namespace {

// The topology that is studied does not bring cores.
TEST(Threads, ShareTheRealCoresWhateverRanksPerNodeSays) {
  test::run_ranks(2, [](comm::World& world) {
    world.set_ranks_per_node(1);
    EXPECT_EQ(set_up_threads({}, world), std::max<int64_t>(1, sysconf(_SC_NPROCESSORS_ONLN) / 2));
    EXPECT_EQ(set_up_threads({.threads = 1}, world), 1);
  });
}

TEST(Disk, IsShortWithoutRoomForWhatWillBeSaved) {
  constexpr int64_t kGiB = int64_t{1} << 30;
  EXPECT_FALSE((Disk{.free_bytes = 4 * kGiB, .checkpoint_bytes = 2 * kGiB, .num_to_come = 2}.is_short()));
  const Disk less{.free_bytes = 4 * kGiB - 1, .checkpoint_bytes = 2 * kGiB, .num_to_come = 2};
  EXPECT_TRUE(less.is_short());
  EXPECT_FALSE((Disk{.free_bytes = 2 * kGiB, .checkpoint_bytes = 2 * kGiB, .num_to_come = 1}.is_short()));
  EXPECT_TRUE((Disk{.free_bytes = 7 * kGiB, .checkpoint_bytes = 2 * kGiB, .num_to_come = 4}.is_short()));
  EXPECT_EQ(less.describe(), "4.00 GiB free, a checkpoint takes 2.00 GiB");
}

}  // namespace
}  // namespace switchyard::train
