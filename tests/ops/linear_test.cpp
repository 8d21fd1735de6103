// Linear layers against plain f64 loops and finite differences.     T or R rows, E experts, N outputs, K inputs
#include "switchyard/ops/linear.h"

#include "tests/ops/rows.h"
#include "tests/support/no_bf16_products.h"
#include "tests/support/op_table.h"

namespace switchyard::ops {
namespace {

using test::OpRows;
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
  const test::NoBf16Products products;
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

TEST(GroupedLinear, ReadsStridedOperands) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Case c({.N = 6, .K = 10, .rows = {4, 0, 3}, .why = ""}, dtype);
    EXPECT_TRUE(test::same_bits(grouped_linear(test::strided(c.x_RK), test::strided(c.w_ENK), c.offsets),
                                grouped_linear(c.x_RK, c.w_ENK, c.offsets)));
  }
}

TEST(GroupedLinear, RefusesOffsetsThatDoNotFit) {
  const Case c({.N = 2, .K = 2, .rows = {3, 4}, .why = ""}, DType::f32);
  EXPECT_THROW(grouped_linear(c.x_RK, c.w_ENK, {0, 7}), Error);
  EXPECT_THROW(grouped_linear(c.x_RK, c.w_ENK, {0, 3, 6}), Error);
  EXPECT_THROW(grouped_linear(c.x_RK, c.w_ENK, {0, 8, 7}), Error);
}

// y by loops from x, w and, if there is one, b.
std::vector<double> dense_loops(const Tensors& in) {
  const auto x = in[0].to_vector<double>(), w = in[1].to_vector<double>();
  const auto T = static_cast<size_t>(in[0].dim(0)), N = static_cast<size_t>(in[1].dim(0)),
             K = static_cast<size_t>(in[1].dim(1));
  std::vector<double> y;
  for (size_t t = 0; t < T; ++t)
    for (size_t n = 0; n < N; ++n) {
      double sum = in.size() > 2 ? in[2].item(static_cast<int64_t>(n)) : 0;
      for (size_t k = 0; k < K; ++k) sum += x[t * K + k] * w[n * K + k];
      y.push_back(sum);
    }
  return y;
}

OpRows dense_rows(bool has_bias) {
  OpRows all;
  for (const test::DenseRow& row : test::kDenseRows)
    all.push_back(
        {.why = row.why,
         .inputs =
             [=](DType dtype) {
               Tensors in{random_tensor({row.T, row.K}, dtype, "x"), random_tensor({row.N, row.K}, dtype, "w")};
               if (has_bias) in.push_back(random_tensor({row.N}, dtype, "b"));
               return in;
             },
         .op = [](const Tensors& in) { return linear(in[0], in[1], in.size() > 2 ? in[2] : Tensor{}); },
         .loops = dense_loops,
         .terms = std::max({row.T, row.N, row.K}),
         .first_weight = 1});
  return all;
}
PRODUCT_TABLE_TESTS(Linear, dense_rows(false))
PRODUCT_TABLE_TESTS(LinearWithBias, dense_rows(true))

OpRows bias_rows() {
  OpRows all;
  for (const test::ElementwiseRow& row : test::kElementwiseRows)
    all.push_back({.why = row.why,
                   .inputs =
                       [=](DType dtype) {
                         return Tensors{random_tensor({row.T, row.D}, dtype, "x"), random_tensor({row.D}, dtype, "b")};
                       },
                   .op = [](const Tensors& in) { return add_bias(in[0], in[1]); },
                   .loops =
                       [](const Tensors& in) {
                         std::vector<double> y = in[0].to_vector<double>();
                         const auto b = in[1].to_vector<double>();
                         for (size_t i = 0; i < y.size(); ++i) y[i] += b[i % b.size()];
                         return y;
                       },
                   .terms = std::max<int64_t>(row.T, 1),
                   .first_weight = 1});
  return all;
}
OP_TABLE_TESTS(AddBias, bias_rows())

TEST(Linear, TakesLeadingDimensions) {
  const Tensor x = random_tensor({2, 3, 5}, DType::f64, "x"), w = random_tensor({2, 2, 5}, DType::f64, "w");
  EXPECT_EQ(linear(x, w).shape(), (Shape{2, 3, 4}));
  test::check_gradients([](const Tensors& in) { return linear(in[0], in[1]); }, {x, w});
}

TEST(Linear, ResultsDoNotDependOnTheNumberOfThreads) {
  SKIP_WITHOUT_SAME_BITS();
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16})
    test::expect_same_for_any_threads([&] {
      return test::gradients_of([](const Tensors& in) { return linear(in[0], in[1], in[2]); },
                                {random_tensor({700, 33}, dtype, "x"), random_tensor({512, 33}, dtype, "w"),
                                 random_tensor({512}, dtype, "b")},
                                dtype);
    });
}

// Operands of the row's dtype; x or w may be kept in f32.
OpRows f32_rows(bool is_x_kept, bool is_w_kept) {
  OpRows all;
  for (const test::DenseRow& row : test::kDenseRows)
    all.push_back({.why = row.why,
                   .inputs =
                       [=](DType dtype) {
                         return Tensors{random_tensor({row.T, row.K}, is_x_kept ? DType::f32 : dtype, "x"),
                                        random_tensor({row.N, row.K}, is_w_kept ? DType::f32 : dtype, "w")};
                       },
                   .op = [](const Tensors& in) { return linear_f32(in[0], in[1]); },
                   .loops = dense_loops,
                   .terms = std::max({row.T, row.N, row.K}),
                   .first_weight = 1});
  return all;
}
PRODUCT_TABLE_TESTS(LinearF32, f32_rows(false, false))
PRODUCT_TABLE_TESTS(LinearF32OfF32Inputs, f32_rows(true, false))
PRODUCT_TABLE_TESTS(LinearF32OfF32Weights, f32_rows(false, true))

TEST(LinearF32, GivesSumsInF32OrF64) {
  for (const DType x_dtype : {DType::f64, DType::f32, DType::bf16})
    for (const DType w_dtype : {DType::f64, DType::f32, DType::bf16})
      EXPECT_EQ(linear_f32(random_tensor({2, 3}, x_dtype, "x"), random_tensor({4, 3}, w_dtype, "w")).dtype(),
                x_dtype == DType::f64 || w_dtype == DType::f64 ? DType::f64 : DType::f32);
}

TEST(LinearF32, ResultsDoNotDependOnTheNumberOfThreads) {
  SKIP_WITHOUT_SAME_BITS();
  for (const DType dtype : {DType::f32, DType::bf16})
    test::expect_same_for_any_threads([&] {
      return test::gradients_of([](const Tensors& in) { return linear_f32(in[0], in[1]); },
                                {random_tensor({700, 33}, dtype, "x"), random_tensor({512, 33}, DType::f32, "w")});
    });
}

}  // namespace
}  // namespace switchyard::ops
