// The harness itself, on kernels that are as ours must not be, and on cases that are too large: it refuses them.
#include "tests/cuda/counterexamples.h"
#include "tests/cuda/traffic.h"

#include <gtest/gtest-spi.h>

using namespace switchyard;
using namespace switchyard::test;

namespace {

class CudaHarness : public testing::Test {
 protected:
  void SetUp() override {
    if (!is_simulated()) GTEST_SKIP() << "only the simulator counts, and draws orders";
  }
};

TEST_F(CudaHarness, AStridedCopyMovesEightTimesWhatIsNeeded) {
  constexpr int64_t T = 64, D = 4096;
  const Moved moved =
      moved_by(DType::f32, "copy_down_columns", [](Arrays& a) { copy_strided(a.in(T * D), a.out(T * D), T, D); });
  EXPECT_FALSE(moved.is_within(kTrafficBound));
  EXPECT_EQ(moved.read.ratio(), 8);
  EXPECT_EQ(moved.written.ratio(), 8);
}

TEST_F(CudaHarness, EachDirectionOfTrafficIsBoundUnlessItIsLessThanAHundredth) {
  const auto of = [](double needed_read, double read, double needed_written, double written) {
    return Moved{{needed_read, read}, {needed_written, written}, {needed_read + needed_written, read + written}}
        .is_within(kTrafficBound);
  };
  EXPECT_TRUE(of(1000, 1100, 1000, 1100));
  EXPECT_FALSE(of(1000, 1101, 1000, 1000));
  EXPECT_FALSE(of(1000, 1000, 1000, 1101));
  EXPECT_TRUE(of(1000, 1000, 8, 64));
  EXPECT_FALSE(of(1000, 1000, 8, 200));  // the whole is too much
}

TEST_F(CudaHarness, APlaceTakenByAtomicsIsRefused) {
  constexpr int64_t count = 500;
  DeviceCase c;
  auto &counter = c.inout(Tensor::full({1}, DType::i32, 0)), &places = c.out({count}, DType::i32);
  EXPECT_NONFATAL_FAILURE(c.run(DType::f32,
                                [&](auto exec, auto at, DType) {
                                  int32_t *next = at(counter), *to = at(places);
                                  if constexpr (std::is_same_v<decltype(exec), exec::Cpu>) {
                                    for (int32_t i = 0; i < count; ++i) to[i] = i;
                                    *next = count;
                                  } else {
                                    take_places(exec.stream, next, to, count);
                                  }
                                }),
                          "depends on the grid or on the order");
}

TEST_F(CudaHarness, ACaseAboveItsLimitIsRefused) {
  Budget::get().add(30'000'000, 30, "lane-instructions");
  EXPECT_NONFATAL_FAILURE(Budget::get().add(30'000'001, 30, "lane-instructions"), "make it smaller");
}

}  // namespace
