// Statistics of several parts on the device against the CPU's.
#include "kernels/cross_entropy.h"

#include "tests/cuda/device_case.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

TEST(CudaCrossEntropyParts, CombineAsOnTheCpu) {
  struct Row {
    int64_t P, R;
    const char* why;
  };
  for (const auto& [P, R, why] :
       {Row{2, 37, "two parts"}, Row{5, 300, "several blocks"}, Row{1, 3, "one part"}, Row{3, 0, "no row"}}) {
    SCOPED_TRACE(why);
    Tensor values = random_tensor({P, R, 3}, DType::f64, why);
    for (int64_t r = 0; r < R; r += 4) {  // the first part has no class
      values.data<double>()[r * 3] = -HUGE_VAL;
      values.data<double>()[r * 3 + 1] = 0;
    }
    DeviceCase c;
    auto &parts = c.in(values), &statistics = c.out({R, 3}, DType::f64);
    c.run(DType::f32, [&](auto exec, auto at, DType) {
      kernels::combine_statistics(exec, {.parts = at(parts), .statistics = at(statistics), .P = P, .R = R});
    });
  }
}

}  // namespace
