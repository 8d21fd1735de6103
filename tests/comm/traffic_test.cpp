// Bytes that groups report, on a machine that is made up.
#include "switchyard/comm/traffic.h"

#include "tests/support/ranks.h"

namespace switchyard::comm {
namespace {

// Four ranks on two nodes send to each other; what rank 1 sends is counted.
TEST(Traffic, IsWhatARankSendsByHowFarItGoes) {
  test::run_ranks(4, [](World& world) {
    world.set_ranks_per_node(2);
    const auto traffic = std::make_shared<Traffic>(Traffic{.nodes = world.nodes(), .is_counting = true});
    const Group group = world.all().metered(traffic);
    EXPECT_EQ(world.all().traffic(), nullptr);
    const auto expect_bytes = [&](int64_t rank, int64_t node, int64_t network) {
      if (world.rank() == 1) {
        EXPECT_EQ(traffic->rank_bytes, rank);
        EXPECT_EQ(traffic->node_bytes, node);
        EXPECT_EQ(traffic->network_bytes, network);
      }
      traffic->rank_bytes = traffic->node_bytes = traffic->network_bytes = 0;
    };
    std::vector<float> send(10), recv(40);
    // Rank r sends p + 1 elements to rank p, or none at all from rank 3.
    const bool is_sender = world.rank() != 3;
    std::vector<int64_t> to, from;
    for (int p = 0; p < 4; ++p) to.push_back(is_sender ? p + 1 : 0), from.push_back(p != 3 ? world.rank() + 1 : 0);
    group.all_to_all_v(send.data(), to, recv.data(), from, DType::f32).wait();
    expect_bytes(2 * 4, 1 * 4, (3 + 4) * 4);
    group.all_gather_v(send.data(), 2 + world.rank(), recv.data(), std::vector<int64_t>{2, 3, 4, 5}, DType::f32).wait();
    expect_bytes(3 * 4, 3 * 4, 2 * 3 * 4);
    group.reduce_scatter_v(send.data(), recv.data(), std::vector<int64_t>{1, 2, 3, 4}, DType::f32).wait();
    expect_bytes(2 * 4, 1 * 4, (3 + 4) * 4);
    group.all_gather(send.data(), recv.data(), 1, DType::i32).wait();  // counts and ids
    group.all_reduce(send.data(), 4, DType::f32).wait();
    expect_bytes(0, 0, 0);
    traffic->is_counting = false;
    group.all_gather(send.data(), recv.data(), 1, DType::f32).wait();
    expect_bytes(0, 0, 0);
  });
}

TEST(Traffic, OfAGroupOfOneStaysInTheRank) {
  const auto traffic = std::make_shared<Traffic>(Traffic{.nodes = {0}, .is_counting = true});
  float send[3]{}, recv[3];
  World::self()
      .all()
      .metered(traffic)
      .all_to_all_v(send, std::vector<int64_t>{3}, recv, std::vector<int64_t>{3}, DType::f32)
      .wait();
  EXPECT_EQ(traffic->rank_bytes, 12);
  EXPECT_EQ(traffic->node_bytes + traffic->network_bytes, 0);
}

}  // namespace
}  // namespace switchyard::comm
