// run.cuda_checked: a fault is told where it was made. It breaks the process' use of the GPU for good, so each is made
// in a process of its own.
#include "switchyard/device/cuda.h"
#include "switchyard/ops/permute.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

namespace switchyard {
namespace {

// Sends a row to a place far behind the last one; ends with 3 and the error's words, or with 0.
void gather_out_of_bounds(bool is_checked) {
  device::open({}, {.has_pool = false, .is_checked = is_checked});
  const DeviceScope scope(Device::cuda);
  try {
    const Tensor x_TD = Tensor::full({3, 64}, DType::f32, 1.0);
    ops::gather_rows(x_TD, Tensor::of(std::vector<int32_t>{0, 1, 1 << 20}, {3, 1}), 3);
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    std::_Exit(3);
  }
  std::_Exit(0);
}

TEST(CudaChecked, AFaultNamesTheOperationAndItsShapes) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(gather_out_of_bounds(true), testing::ExitedWithCode(3),
              "GatherRows \\(forward\\) of f32 \\(3, 64\\) i32 \\(3, 1\\)");
  EXPECT_EXIT(gather_out_of_bounds(false), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace switchyard
