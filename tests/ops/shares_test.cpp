// Shares of counts against plain loops.
#include "switchyard/ops/router.h"

#include "tests/ops/rows.h"
#include "tests/support/op_table.h"

namespace switchyard::ops {
namespace {

using namespace test;

TEST(Shares, AreCountsDividedByTheSumOfTheirRow) {
  const Tensor counts = Tensor::of(std::vector<int64_t>{1, 2, 5, 0, 0, 0, 0, 0, 3, 0, 0, 7}, {3, 4});
  const std::vector<double> expected{1 / 8.0, 2 / 8.0, 5 / 8.0, 0, 0, 0, 0, 0, 3 / 10.0, 0, 0, 7 / 10.0};
  EXPECT_EQ(shares(counts, DType::f64).to_vector<double>(), expected);
  EXPECT_EQ(shares(strided(counts), DType::f64).to_vector<double>(), expected);
  const auto rounded = shares(counts, DType::f32).to_vector<float>();
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(rounded[i], static_cast<float>(expected[i]));
  EXPECT_EQ(shares(Tensor::zeros({0, 4}, DType::i64), DType::f32).numel(), 0);
}

TEST(Shares, DoNotDependOnThreads) {
  const Tensor ids = choices({5000, 2, 8, 1, ""});
  expect_same_for_any_threads([&] { return Tensors{shares(count_experts(ids, 8, 3), DType::f32)}; });
}

}  // namespace
}  // namespace switchyard::ops
