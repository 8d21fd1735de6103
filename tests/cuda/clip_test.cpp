// The factor of gradients on the device against the CPU's.
#include "kernels/clip.h"

#include "tests/cuda/device_case.h"

#include <limits>

using namespace switchyard;
using namespace switchyard::test;

namespace {

TEST(CudaClip, EqualsTheCpu) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  struct Row {
    double squares, loss, max_norm;
  };
  for (const auto& [squares, loss, max_norm] :
       {Row{49, 2.5, 0}, Row{0.0625, 2.5, 0.5}, Row{0, 0, 0.5}, Row{16, 2.5, 0.5}, Row{kInfinity, 2.5, 1},
        Row{4, kInfinity, 1}, Row{std::numeric_limits<double>::quiet_NaN(), 1, 0}}) {
    SCOPED_TRACE(fmt::format("{} {} {}", squares, loss, max_norm));
    DeviceCase c;
    auto &sums = c.in(Tensor::of(std::vector<double>{squares, loss}, {2})), &factor = c.out({1}, DType::f64);
    c.run(DType::f32, [&](auto exec, auto at, DType) { kernels::clip(exec, {at(sums), at(factor), max_norm}); });
  }
}

}  // namespace
