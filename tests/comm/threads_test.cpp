#include "tests/support/ranks.h"

namespace switchyard {
namespace {

using test::first_failure_of_ranks;

TEST(ThreadRanks, AFailureOfOneRankReleasesTheOthers) {
  const std::string failure = first_failure_of_ranks(3, [](comm::World& world) {
    check(world.rank() != 1, "rank 1 gives up");
    world.all().barrier();
  });
  EXPECT_NE(failure.find("[rank 1] rank 1 gives up"), std::string::npos) << failure;
}

TEST(ThreadRanks, AMissingCollectiveIsAMessageAndNotAHang) {
  const std::string failure = first_failure_of_ranks(3, [](comm::World& world) {
    if (world.rank() != 1) world.all().barrier();
  });
  EXPECT_NE(failure.find("nobody sends"), std::string::npos) << failure;
}

TEST(ThreadRanks, AWrongSizeIsAMessage) {
  const std::string failure = first_failure_of_ranks(2, [](comm::World& world) {
    std::vector<char> buffer(8);
    world.all().broadcast(buffer.data(), world.rank() == 0 ? 8 : 4, 0).wait();
  });
  EXPECT_NE(failure.find("8 bytes where 4"), std::string::npos) << failure;
}

}  // namespace
}  // namespace switchyard
