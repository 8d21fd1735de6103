// The device of a run, in a build for the CPU alone (those with CUDA: tests/simulated).
#include "switchyard/train/compute.h"

#include "switchyard/base/error.h"
#include "tests/support/ranks.h"

namespace switchyard::train {
namespace {

TEST(Compute, CudaIsRefusedOnEveryRankWhereTheBuildHasNone) {
#ifdef SWITCHYARD_HAVE_CUDA
  GTEST_SKIP() << "this build has CUDA";
#endif
  std::atomic<int> refused{0};
  test::run_ranks(2, [&](comm::World& world) {
    RunConfig run;
    run.device = DeviceChoice::cuda;
    try {
      const Compute compute(run, DType::f32, world);
    } catch (const SharedError& error) {
      EXPECT_EQ(error.code(), ExitCode::usage);
      EXPECT_NE(std::string(error.what()).find("run.device=cuda: this program is built without CUDA"),
                std::string::npos)
          << error.what();
      ++refused;
    }
  });
  EXPECT_EQ(refused, 2);
}

}  // namespace
}  // namespace switchyard::train
