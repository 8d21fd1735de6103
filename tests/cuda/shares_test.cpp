// Shares of counts on the device against the CPU, to the bit.
#include "kernels/router.h"

#include "tests/cuda/device_case.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

TEST(CudaShares, EqualTheCpu) {
  struct Row {
    int64_t G, E;
    const char* why;
  };
  for (const auto& [G, E, why] : {Row{1, 8, "one group"}, Row{37, 33, "odd number of experts"},
                                  Row{3, 512, "many experts"}, Row{0, 8, "no group"}}) {
    SCOPED_TRACE(why);
    Tensor values = Tensor::empty({G, E}, DType::i64);
    for (int64_t i = 0; i < G * E; ++i) values.data<int64_t>()[i] = i < E ? 0 : i * 7919 % 1013;  // the first has none
    DeviceCase c;
    auto &counts = c.in(values), &shares = c.out({G, E}, DType::f32);
    c.run(DType::f32, [&](auto exec, auto at, DType dtype) {
      kernels::shares(exec, {.counts = at(counts), .shares = at(shares), .G = G, .E = E, .dtype = dtype});
    });
  }
}

TEST(CudaShares, RefusesOtherTypes) {
  EXPECT_THROW(
      kernels::shares(exec::Cuda{}, {.counts = nullptr, .shares = nullptr, .G = 1, .E = 1, .dtype = DType::f64}),
      Error);
}

}  // namespace
