// Linear layers against plain f64 loops and finite differences; packed copies of weights.
#include "switchyard/ops/linear.h"

#include "switchyard/ops/packed.h"
#include "tests/ops/rows.h"
#include "tests/support/gradcheck.h"

namespace switchyard::ops {
namespace {

using test::random_tensor;

using Row = test::LinearRow;
const auto& kTable = test::kLinearRows;

std::vector<int64_t> offsets_of(const std::vector<int64_t>& rows) {
  std::vector<int64_t> offsets{0};
  for (const int64_t r : rows) offsets.push_back(offsets.back() + r);
  return offsets;
}

struct Case {
  std::vector<int64_t> offsets;
  int64_t R, E, N, K;
  Tensor x_RK, w_ENK, dy_RN;
  Case(const Row& row, DType dtype)
      : offsets(offsets_of(row.rows)),
        R(offsets.back()),
        E(std::ssize(row.rows)),
        N(row.N),
        K(row.K),
        x_RK(random_tensor({R, K}, dtype, "x")),
        w_ENK(random_tensor({E, N, K}, dtype, "w")),
        dy_RN(random_tensor({R, N}, dtype, "dy")) {}
};

// y, dx and dw by loops.
struct Expected {
  std::vector<double> y, dx, dw;
  explicit Expected(const Case& c)
      : y(static_cast<size_t>(c.R * c.N)),
        dx(static_cast<size_t>(c.R * c.K)),
        dw(static_cast<size_t>(c.E * c.N * c.K)) {
    const auto x = c.x_RK.to_vector<double>(), w = c.w_ENK.to_vector<double>(), dy = c.dy_RN.to_vector<double>();
    for (int64_t e = 0; e < c.E; ++e)
      for (int64_t r = c.offsets[e]; r < c.offsets[e + 1]; ++r)
        for (int64_t n = 0; n < c.N; ++n)
          for (int64_t k = 0; k < c.K; ++k) {
            const int64_t i = (e * c.N + n) * c.K + k;
            y[r * c.N + n] += x[r * c.K + k] * w[i];
            dx[r * c.K + k] += dy[r * c.N + n] * w[i];
            dw[i] += dy[r * c.N + n] * x[r * c.K + k];
          }
  }
};

class Pretend {
 public:
  Pretend() { kernels::pretend_no_bf16_products(true); }
  ~Pretend() { kernels::pretend_no_bf16_products(false); }
  Pretend(const Pretend&) = delete;
  Pretend& operator=(const Pretend&) = delete;
};

void expect_grouped(const Row& row, DType dtype) {
  SCOPED_TRACE(std::string(row.why) + ", " + std::string(name_of(dtype)));
  Case c(row, dtype);
  const Expected expected(c);
  const auto x_leaf = autograd::make_leaf(c.x_RK), w_leaf = autograd::make_leaf(c.w_ENK);
  const Tensor y_RN = grouped_linear(c.x_RK, c.w_ENK, c.offsets);
  EXPECT_LE(test::max_error(y_RN, expected.y), test::tolerance(dtype, c.K));
  autograd::backward({y_RN}, {c.dy_RN});
  EXPECT_LE(test::max_error(x_leaf->grad, expected.dx), test::tolerance(dtype, c.N));
  EXPECT_LE(test::max_error(w_leaf->grad, expected.dw), test::tolerance(accumulate_type(dtype), c.R));
}

TEST(GroupedLinear, MatchesLoops) {
  for (const Row& row : kTable)
    for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) expect_grouped(row, dtype);
}

TEST(GroupedLinear, MatchesLoopsWithoutBf16Instructions) {
  const Pretend pretend;
  for (const Row& row : kTable) expect_grouped(row, DType::bf16);
}

TEST(GroupedLinear, OneExpertIsLinear) {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    const Case c({.N = 12, .K = 20, .rows = {35}, .why = ""}, dtype);
    EXPECT_TRUE(test::same_bits(grouped_linear(c.x_RK, c.w_ENK, c.offsets), linear(c.x_RK, c.w_ENK.view({12, 20}))));
  }
}

TEST(GroupedLinear, LeadingDimensionsOfAnExpertsWeightAreItsOutputs) {
  const Case c({.N = 12, .K = 5, .rows = {3, 4}, .why = ""}, DType::f32);
  EXPECT_TRUE(test::same_bits(grouped_linear(c.x_RK, c.w_ENK.view({2, 2, 6, 5}), c.offsets),
                              grouped_linear(c.x_RK, c.w_ENK, c.offsets)));
}

TEST(GroupedLinear, GradientMatchesFiniteDifference) {
  const std::vector<int64_t> offsets{0, 2, 2, 5};
  test::check_gradients([&](const Tensors& in) { return grouped_linear(in[0], in[1], offsets); },
                        {random_tensor({5, 3}, DType::f64, "x"), random_tensor({3, 4, 3}, DType::f64, "w")});
}

TEST(GroupedLinear, RefusesOffsetsThatDoNotFit) {
  const Case c({.N = 2, .K = 2, .rows = {3, 4}, .why = ""}, DType::f32);
  EXPECT_THROW(grouped_linear(c.x_RK, c.w_ENK, {0, 7}), Error);
  EXPECT_THROW(grouped_linear(c.x_RK, c.w_ENK, {0, 3, 6}), Error);
  EXPECT_THROW(grouped_linear(c.x_RK, c.w_ENK, {0, 8, 7}), Error);
}

TEST(Linear, GradientMatchesFiniteDifference) {
  const Tensor x = random_tensor({2, 3, 5}, DType::f64, "x"), w = random_tensor({4, 5}, DType::f64, "w");
  test::check_gradients([](const Tensors& in) { return linear(in[0], in[1]); }, {x, w});
  test::check_gradients([](const Tensors& in) { return linear(in[0], in[1], in[2]); },
                        {x, w, random_tensor({4}, DType::f64, "b")});
  test::check_gradients([](const Tensors& in) { return linear(in[0], in[1]); },
                        {x, random_tensor({2, 2, 5}, DType::f64, "w")});
}

TEST(Linear, BiasIsAddedAndItsGradientIsTheSumOfRows) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    Case c({.N = 18, .K = 7, .rows = {131}, .why = ""}, dtype);
    Tensor b_N = random_tensor({18}, dtype, "b");
    const auto b = b_N.to_vector<double>(), dy = c.dy_RN.to_vector<double>();
    Expected expected(c);
    std::vector<double> db(18);
    for (size_t i = 0; i < expected.y.size(); ++i) expected.y[i] += b[i % 18], db[i % 18] += dy[i];
    const auto leaf = autograd::make_leaf(b_N);
    const Tensor y_TN = linear(c.x_RK, c.w_ENK.view({18, 7}), b_N);
    EXPECT_LE(test::max_error(y_TN, expected.y), 2 * test::tolerance(dtype, 7));
    autograd::backward({y_TN}, {c.dy_RN});
    EXPECT_LE(test::max_error(leaf->grad, db), test::tolerance(DType::f32, 131));
  }
}

TEST(Linear, ReadsStridedOperands) {
  const Case c({.N = 6, .K = 10, .rows = {4}, .why = ""}, DType::f32);
  const Tensor w_NK = c.w_ENK.view({6, 10}), expected = linear(c.x_RK, w_NK);
  EXPECT_TRUE(test::same_bits(linear(test::strided(c.x_RK), test::strided(w_NK)), expected));
}

TEST(Linear, ResultsDoNotDependOnTheNumberOfThreads) {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16})
    test::expect_same_for_any_threads([&] {
      return test::gradients_of([](const Tensors& in) { return linear(in[0], in[1], in[2]); },
                                {random_tensor({700, 33}, dtype, "x"), random_tensor({512, 33}, dtype, "w"),
                                 random_tensor({512}, dtype, "b")},
                                dtype);
    });
}

TEST(LinearF32, KeepsF32SumsOfAnyOperands) {
  for (const DType x_dtype : {DType::f32, DType::bf16})
    for (const DType w_dtype : {DType::f32, DType::bf16}) {
      Case c({.N = 8, .K = 64, .rows = {50}, .why = ""}, DType::bf16);  // exact in both dtypes
      const Expected expected(c);
      Tensor x = c.x_RK.to(x_dtype).clone(), w = c.w_ENK.view({8, 64}).to(w_dtype).clone();
      const auto x_leaf = autograd::make_leaf(x), w_leaf = autograd::make_leaf(w);
      const Tensor y_TN = linear_f32(x, w);
      EXPECT_EQ(y_TN.dtype(), DType::f32);
      EXPECT_LE(test::max_error(y_TN, expected.y), test::tolerance(DType::f32, 64));
      autograd::backward({y_TN}, {c.dy_RN.to(DType::f32)});
      EXPECT_LE(test::max_error(x_leaf->grad, expected.dx), test::tolerance(x_dtype, 8));
      EXPECT_LE(test::max_error(w_leaf->grad, expected.dw), test::tolerance(DType::f32, 50));
    }
}

TEST(LinearF32, GradientMatchesFiniteDifference) {
  test::check_gradients([](const Tensors& in) { return linear_f32(in[0], in[1]); },
                        {random_tensor({3, 5}, DType::f64, "x"), random_tensor({4, 5}, DType::f64, "w")});
}

// ---- packed copies ----

int64_t packed_bytes() { return Allocator::current()->stats(Purpose::packed).live_bytes; }

TEST(Packed, AWeightIsPackedOncePerVersion) {
  const Pretend pretend;  // then packing always pays
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
    const Case c({.N = 48, .K = 70, .rows = {2000}, .why = ""}, dtype);
    const Tensor w_NK = c.w_ENK.view({48, 70});
    const Tensor few = linear(c.x_RK.slice(0, 0, 100).contiguous(), w_NK.clone());  // too few rows to pack
    EXPECT_LE(test::max_error(linear(c.x_RK, w_NK).slice(0, 0, 100), few), test::tolerance(dtype, 70));
  }
}

}  // namespace
}  // namespace switchyard::ops
