// The f32 functions against std:: in f64: error in units of the last place, limits, and NaN.
#include "kernels/cpu/vecmath.h"

#include <gtest/gtest.h>

#include <vector>

namespace switchyard::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kTiniest = std::numeric_limits<float>::denorm_min();

// Distance of `got` from `exact` in units of the last place of an f32 of that size.
double ulps(float got, double exact) {
  if (std::isinf(static_cast<float>(exact))) return static_cast<double>(got) == static_cast<float>(exact) ? 0.0 : 1e30;
  const int exponent = std::max(exact == 0.0 ? -126 : std::ilogb(exact), -126);
  return std::fabs(static_cast<double>(got) - exact) / std::ldexp(1.0, exponent - 23);
}

// Largest error over evenly spaced points; in a vectorised loop, as kernels use the function.
template <class F, class G>
double worst_error(F f, G exact, float low, float high) {
  constexpr int64_t kPoints = 200003;
  std::vector<float> x(kPoints), y(kPoints);
  for (int64_t i = 0; i < kPoints; ++i)
    x[i] = static_cast<float>(low + (static_cast<double>(high) - low) * static_cast<double>(i) / (kPoints - 1));
#pragma omp simd
  for (int64_t i = 0; i < kPoints; ++i) y[i] = f(x[i]);
  double worst = 0;
  for (int64_t i = 0; i < kPoints; ++i) worst = std::max(worst, ulps(y[i], exact(static_cast<double>(x[i]))));
  return worst;
}

const auto f_exp = [](float x) { return vec_exp(x); };
const auto f_log = [](float x) { return vec_log(x); };
const auto f_tanh = [](float x) { return vec_tanh(x); };
const auto f_sigmoid = [](float x) { return vec_sigmoid(x); };
const auto exact_exp = [](double x) { return std::exp(x); };
const auto exact_log = [](double x) { return std::log(x); };
const auto exact_tanh = [](double x) { return std::tanh(x); };
const auto exact_sigmoid = [](double x) { return 1.0 / (1.0 + std::exp(-x)); };

TEST(VecMath, ExpIsWithinTwoUlp) {
  EXPECT_LE(worst_error(f_exp, exact_exp, -1.0f, 1.0f), 2.0);
  EXPECT_LE(worst_error(f_exp, exact_exp, -110.0f, 95.0f), 2.0);  // denormal results and overflow at the ends
  EXPECT_LE(worst_error(f_exp, exact_exp, -1e-3f, 1e-3f), 2.0);
}

TEST(VecMath, LogIsWithinTwoUlp) {
  EXPECT_LE(worst_error(f_log, exact_log, 0.5f, 2.0f), 2.0);  // through the zero at 1
  EXPECT_LE(worst_error(f_log, exact_log, 0.9999f, 1.0001f), 2.0);
  EXPECT_LE(worst_error(f_log, exact_log, kTiniest, 1e-37f), 2.0);  // denormal arguments
  EXPECT_LE(worst_error(f_log, exact_log, 1e-30f, 3e38f), 2.0);
}

TEST(VecMath, TanhIsWithinTwoUlp) {
  EXPECT_LE(worst_error(f_tanh, exact_tanh, -1.0f, 1.0f), 2.0);
  EXPECT_LE(worst_error(f_tanh, exact_tanh, -30.0f, 30.0f), 2.0);
  EXPECT_LE(worst_error(f_tanh, exact_tanh, -1e-6f, 1e-6f), 2.0);
}

TEST(VecMath, SigmoidIsWithinThreeUlp) {
  EXPECT_LE(worst_error(f_sigmoid, exact_sigmoid, -1.0f, 1.0f), 3.0);
  EXPECT_LE(worst_error(f_sigmoid, exact_sigmoid, -100.0f, 40.0f), 3.0);
}

TEST(VecMath, LimitsAreExact) {
  EXPECT_EQ(vec_exp(0.0f), 1.0f);
  EXPECT_EQ(vec_exp(-kInf), 0.0f);
  EXPECT_EQ(vec_exp(kInf), kInf);
  EXPECT_EQ(vec_exp(-3e38f), 0.0f);
  EXPECT_EQ(vec_exp(3e38f), kInf);
  EXPECT_EQ(vec_log(1.0f), 0.0f);
  EXPECT_EQ(vec_log(0.0f), -kInf);
  EXPECT_EQ(vec_log(-0.0f), -kInf);
  EXPECT_EQ(vec_log(kInf), kInf);
  EXPECT_TRUE(std::isnan(vec_log(-1.0f)));
  EXPECT_TRUE(std::isnan(vec_log(-kInf)));
  EXPECT_EQ(vec_tanh(0.0f), 0.0f);
  EXPECT_TRUE(std::signbit(vec_tanh(-0.0f)));
  EXPECT_EQ(vec_tanh(kInf), 1.0f);
  EXPECT_EQ(vec_tanh(-kInf), -1.0f);
  EXPECT_EQ(vec_sigmoid(0.0f), 0.5f);
  EXPECT_EQ(vec_sigmoid(kInf), 1.0f);
  EXPECT_EQ(vec_sigmoid(-kInf), 0.0f);
}

TEST(VecMath, NanPassesThrough) {
  for (const float x : {kNan, -kNan}) {
    EXPECT_TRUE(std::isnan(vec_exp(x)));
    EXPECT_TRUE(std::isnan(vec_log(x)));
    EXPECT_TRUE(std::isnan(vec_tanh(x)));
    EXPECT_TRUE(std::isnan(vec_sigmoid(x)));
  }
  EXPECT_TRUE(std::isnan(vec_exp(static_cast<double>(kNan))));
  EXPECT_TRUE(std::isnan(vec_sigmoid(static_cast<double>(kNan))));
}

TEST(VecMath, RowsConvertLikeTheScalarType) {
  std::vector<float> x;
  for (int i = 0; i < 1000; ++i) x.push_back(static_cast<float>(std::sin(i) * std::exp(i % 60 - 30)));
  x.insert(x.end(), {0.0f, -0.0f, kInf, -kInf, kNan, kTiniest, 0x1.01p0f, 0x1.03p0f, 3.4e38f});
  const auto n = static_cast<int64_t>(x.size());
  std::vector<bf16> narrowed(x.size());
  std::vector<float> back(x.size());
  store_row(x.data(), narrowed.data(), n);
  load_row(narrowed.data(), back.data(), n);
  for (size_t i = 0; i < x.size(); ++i) {
    EXPECT_EQ(narrowed[i].bits, bf16(x[i]).bits) << x[i];
    EXPECT_EQ(std::bit_cast<uint32_t>(back[i]) >> 16, narrowed[i].bits) << x[i];
  }
}

}  // namespace
}  // namespace switchyard::kernels
