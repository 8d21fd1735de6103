// Views share storage, copies convert, sizes are checked.
#include "switchyard/tensor/tensor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

namespace switchyard {
namespace {

Tensor counting(Shape shape) {
  std::vector<float> values(static_cast<size_t>(numel_of(shape)));
  std::iota(values.begin(), values.end(), 0.f);
  return Tensor::of(values, std::move(shape));
}

TEST(Tensor, ViewsShareStorage) {
  Tensor t = counting({2, 6});
  Tensor v = t.view({3, -1});
  EXPECT_EQ(v.shape(), (Shape{3, 4}));
  v.slice(0, 1, 2).fill(7);
  EXPECT_EQ(t.item(4), 7);
  EXPECT_EQ(t.item(8), 8);
}

TEST(Tensor, TransposeAndSliceCopyInLogicalOrder) {
  const Tensor t = counting({2, 3, 4});
  const auto got = t.transpose(0, 1).slice(2, 1, 3).to_vector<double>();
  std::vector<double> want;
  for (int j = 0; j < 3; ++j)
    for (int i = 0; i < 2; ++i)
      for (int k = 1; k < 3; ++k) want.push_back(i * 12 + j * 4 + k);
  EXPECT_EQ(got, want);
  EXPECT_FALSE(t.transpose(0, 1).is_contiguous());
  EXPECT_EQ(t.transpose(0, 2).contiguous().to_vector<float>(), t.transpose(0, 2).to_vector<float>());
}

TEST(Tensor, LargeTransposeEqualsPlainLoop) {
  const Tensor t = counting({70, 33, 40});
  const auto got = t.transpose(1, 2).contiguous().to_vector<float>();
  size_t at = 0;
  for (int i = 0; i < 70; ++i)
    for (int k = 0; k < 40; ++k)
      for (int j = 0; j < 33; ++j) ASSERT_EQ(got[at++], static_cast<float>((i * 33 + j) * 40 + k));
}

TEST(Tensor, Bf16RoundsToNearestEvenAndKeepsSpecials) {
  EXPECT_EQ(float(bf16(1.00390625f)), 1.0f);       // halfway, even below
  EXPECT_EQ(float(bf16(1.01171875f)), 1.015625f);  // halfway, even above
  EXPECT_TRUE(std::isnan(float(bf16(std::numeric_limits<float>::quiet_NaN()))));
  EXPECT_EQ(float(bf16(std::numeric_limits<float>::infinity())), std::numeric_limits<float>::infinity());
  const Tensor t = Tensor::of(std::vector<float>{1.00390625f, -3.f}, {2}).to(DType::bf16);
  EXPECT_EQ(t.to_vector<float>(), (std::vector<float>{1.f, -3.f}));
}

TEST(Tensor, F16ConvertsBothWays) {
  const std::vector<float> exact{1.5f, -65504.f, 5.9604645e-8f, std::numeric_limits<float>::infinity()};
  const Tensor half = Tensor::of(exact, {4}).to(DType::f16);
  EXPECT_EQ(half.bytes(), 8);
  EXPECT_EQ(half.to(DType::f32).to_vector<float>(), exact);
  EXPECT_EQ(float(f16(1.00048828125f)), 1.0f);  // halfway, even below
  EXPECT_TRUE(std::isnan(float(f16(std::numeric_limits<float>::quiet_NaN()))));
}

TEST(Tensor, EmptyTensorsAreValid) {
  const Tensor t = Tensor::zeros({0, 5}, DType::f32);
  EXPECT_EQ(t.numel(), 0);
  EXPECT_EQ(t.rows(), 0);
  EXPECT_TRUE(t.is_contiguous());
  EXPECT_TRUE(t.clone().to_vector<float>().empty());
}

TEST(Tensor, MisuseIsAnErrorThatNamesTheShapes) {
  const Tensor t = counting({2, 3});
  EXPECT_THROW(t.view({4}), Error);
  EXPECT_THROW(t.data<double>(), Error);
  EXPECT_THROW(t.slice(0, 1, 3), Error);
  EXPECT_THROW(Tensor::empty({int64_t{1} << 40, int64_t{1} << 40}, DType::f32), Error);
  EXPECT_THROW(Tensor().raw(), Error);
}

}  // namespace
}  // namespace switchyard
