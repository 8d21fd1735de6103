// Packed copies of weights: when they are made, when they are made anew, and that they give the same products.
#include "switchyard/ops/packed.h"

#include "switchyard/autograd/graph.h"
#include "switchyard/ops/linear.h"
#include "tests/support/compare.h"
#include "tests/support/no_bf16_products.h"

namespace switchyard::ops {
namespace {

using test::random_tensor;

int64_t packed_bytes() { return Allocator::current()->stats(Purpose::packed).live_bytes; }

TEST(Packed, AWeightIsPackedOncePerVersion) {
  const test::NoBf16Products products;  // then packing always pays
  const Tensor x = random_tensor({4, 6}, DType::bf16, "x");
  Tensor w = random_tensor({5, 6}, DType::bf16, "w");
  const Tensor first = linear(x, w);
#ifndef SWITCHYARD_TSAN
  ASSERT_GT(packed_bytes(), 0);
#endif
  const int64_t bytes = packed_bytes();
  w.copy_from(random_tensor({5, 6}, DType::bf16, "other"));
#ifndef SWITCHYARD_TSAN
  EXPECT_TRUE(test::same_bits(linear(x, w), first)) << "the copy of the old version is still used";
#endif
  w.bump_version();
  EXPECT_LE(test::max_error(linear(x, w), linear(x, w.clone())), 0);
  EXPECT_FALSE(test::same_bits(linear(x, w), first));
  EXPECT_EQ(packed_bytes(), bytes) << "the new copy takes the old one's place";
}

TEST(Packed, NoRowsMakeNoCopyAndReusedWeightsDo) {
  const int64_t before = packed_bytes();
  const Tensor w = random_tensor({5, 6}, DType::f32, "w"), one = random_tensor({1, 6}, DType::f32, "x");
  const autograd::NoGrad no_grad;
  linear(one, w);
  const ReusedWeights reused;
  linear(random_tensor({0, 6}, DType::f32, "none"), w);
  EXPECT_EQ(packed_bytes(), before);
  linear(one, w);
#ifndef SWITCHYARD_TSAN
  EXPECT_GT(packed_bytes(), before);
#endif
}

// Rows per expert move with every step, over the number from which packing pays and back.
TEST(Packed, AWeightPackedOnceStaysSo) {
  Tensor w = random_tensor({5, 6}, DType::f32, "w");
  linear(random_tensor({4000, 6}, DType::f32, "x"), w);
  const int64_t compiled = kernels::kernels_compiled();
  w.bump_version();
  for (const int64_t rows : {10, 4000, 700}) linear(random_tensor({rows, 6}, DType::f32, "x"), w);
  EXPECT_EQ(kernels::kernels_compiled(), compiled);
}

TEST(Packed, CopiesGoWithTheirWeight) {
  const int64_t before = packed_bytes();
  {
    const Tensor x = random_tensor({4000, 6}, DType::f32, "x");
    Tensor w = random_tensor({2, 5, 6}, DType::f32, "w");
    linear(x, w.slice(0, 0, 1).view({5, 6}));
    linear(x, w.slice(0, 1, 2).view({5, 6}));
#ifndef SWITCHYARD_TSAN
    EXPECT_GT(packed_bytes(), before);
#endif
  }
  EXPECT_EQ(packed_bytes(), before);
}

TEST(Packed, PlainAndPackedWeightsAgree) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Tensor x_TK = random_tensor({2000, 70}, dtype, "x"), w_NK = random_tensor({48, 70}, dtype, "w");
    const Tensor few = linear(x_TK.slice(0, 0, 100).contiguous(), w_NK.clone());  // too few rows to pack
    EXPECT_LE(test::max_error(linear(x_TK, w_NK).slice(0, 0, 100), few), test::tolerance(dtype, 70));
  }
}

}  // namespace
}  // namespace switchyard::ops
