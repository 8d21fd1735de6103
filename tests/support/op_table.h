// What every op is asked in each row of its table: it agrees with plain loops in every dtype, its gradients agree with
// differences in f64 and with those of f64 in f32 and bf16, strided inputs are read, and the number of threads changes
// no bit. A test file makes the rows and says OP_TABLE_TESTS(RmsNorm, rms_rows()).
#pragma once

#include "kernels/products.h"
#include "tests/support/gradcheck.h"

namespace switchyard::test {

struct OpRow {
  std::string why;
  std::function<Tensors(DType)> inputs;                      // of rows in that dtype; ids stay what they are
  Function op;                                               // differentiable in every floating input
  std::function<std::vector<double>(const Tensors&)> loops;  // the result, from such inputs
  int64_t terms = 1;                                         // products that add up to one element of a result
  size_t first_weight = SIZE_MAX;                            // inputs from here on have gradients summed in f32 (f64)
  bool has_tiny_gradients = false;                           // what rounding leaves of zero
  std::vector<DType> dtypes = {DType::f64, DType::f32, DType::bf16};
};
using OpRows = std::vector<OpRow>;

// claim(row, dtype) for every row and dtype
template <class Claim>
void for_each_row(const OpRows& rows, Claim&& claim) {
  for (const OpRow& row : rows)
    for (const DType dtype : row.dtypes) {
      SCOPED_TRACE(fmt::format("{} {}", row.why, name_of(dtype)));
      claim(row, dtype);
    }
}

inline void expect_loops(const OpRow& row, DType dtype) {
  const Tensors in = row.inputs(dtype);
  const Tensor y = row.op(in);
  EXPECT_LE(max_error(y, row.loops(in)), tolerance(y.dtype(), row.terms));
}

inline void expect_differences(const OpRow& row, DType dtype) {
  if (dtype == DType::f64) check_gradients(row.op, row.inputs(dtype));
}

inline void expect_gradients_of_f64(const OpRow& row, DType dtype) {
  if (dtype == DType::f64 || row.has_tiny_gradients) return;
  const Tensors in = row.inputs(dtype), got = gradients_of(row.op, in), exact = gradients_of(row.op, in, DType::f64);
  for (size_t i = 0; i < in.size(); ++i) {
    if (!got[i].defined()) continue;
    const DType stored = i >= row.first_weight ? accumulate_type(in[i].dtype()) : in[i].dtype();
    EXPECT_LE(max_error(got[i], exact[i]), 2 * tolerance(stored, row.terms)) << "input " << i;
  }
}

inline void expect_strided(const OpRow& row, DType dtype) {
  Tensors in = row.inputs(dtype), apart;
  for (const Tensor& t : in) apart.push_back(t.defined() ? strided(t) : t);
  EXPECT_TRUE(same_bits(row.op(apart), row.op(in)));
}

inline void expect_threads(const OpRow& row, DType dtype) {
  const Tensors in = row.inputs(dtype);
  expect_same_for_any_threads([&] {
    Tensors results{row.op(in)};
    for (const Tensor& gradient : gradients_of(row.op, in))
      if (gradient.defined()) results.push_back(gradient);
    return results;
  });
}

#define OP_TABLE_TESTS(Op, rows)     \
  OP_TABLE_TESTS_OF_VALUES(Op, rows) \
  TEST(Op, DoesNotDependOnThreads) { test::for_each_row(rows, test::expect_threads); }

// Of ops that are products: the library's kernels for older processors keep no bits on other numbers of threads.
#define PRODUCT_TABLE_TESTS(Op, rows)               \
  OP_TABLE_TESTS_OF_VALUES(Op, rows)                \
  TEST(Op, DoesNotDependOnThreads) {                \
    SKIP_WITHOUT_SAME_BITS();                       \
    test::for_each_row(rows, test::expect_threads); \
  }

#define OP_TABLE_TESTS_OF_VALUES(Op, rows)                                                        \
  TEST(Op, MatchesPlainLoops) { test::for_each_row(rows, test::expect_loops); }                   \
  TEST(Op, GradientMatchesDifferences) { test::for_each_row(rows, test::expect_differences); }    \
  TEST(Op, GradientsMatchThoseOfF64) { test::for_each_row(rows, test::expect_gradients_of_f64); } \
  TEST(Op, TakesStridedInputs) { test::for_each_row(rows, test::expect_strided); }

#define SKIP_WITHOUT_SAME_BITS()                             \
  if (!kernels::products_have_same_bits_anywhere())          \
  GTEST_SKIP() << "products add up in other orders on this " \
                  "processor"

}  // namespace switchyard::test
