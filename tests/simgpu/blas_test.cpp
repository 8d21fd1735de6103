// The cuBLASLt stand-in: products against plain loops, and the bytes that they touch. An ordinary CUDA program, so that
// it also says what the genuine library does where there is a GPU.
#include "tests/simgpu/blas.h"
#include "tests/simgpu/blas_problem.h"

#include <cmath>

namespace switchyard::simgpu::blas {
namespace {

class Products : public testing::TestWithParam<Case> {};

TEST_P(Products, EqualPlainLoopsAndLeavePaddingAlone) {
  const Case& c = GetParam();
  Problem problem(c);
  ASSERT_EQ(problem.ask(), CUBLAS_STATUS_SUCCESS);
  ASSERT_EQ(problem.run(), CUBLAS_STATUS_SUCCESS);
  const std::vector<uint8_t> result = problem.result();
  const bool tf32 = c.compute == CUBLAS_COMPUTE_32F_FAST_TF32;
  double error = 0, size = 0;
  for (int64_t j = 0; j < c.n; ++j)
    for (int64_t i = 0; i < problem.d.ld; ++i) {
      const double got = value_at(result, c.out, j * problem.d.ld + i), before = problem.d(i, j);
      if (i >= c.m) {
        ASSERT_EQ(got, before) << "padding";
        continue;
      }
      double sum = 0;
      for (int64_t q = 0; q < c.k; ++q) {
        const double x = c.transpose_a ? problem.a(q, i) : problem.a(i, q);
        const double y = c.transpose_b ? problem.b(j, q) : problem.b(q, j);
        sum += tf32 ? double{round_to_tf32(static_cast<float>(x))} * round_to_tf32(static_cast<float>(y)) : x * y;
      }
      const double wanted = c.alpha * sum + (c.beta == 0 ? 0 : c.beta * before);
      error += (got - wanted) * (got - wanted);
      size += wanted * wanted;
    }
  EXPECT_LE(std::sqrt(error / size), c.out == kF32 ? 3e-6 : 1.0 / 256) << c.why;
}

INSTANTIATE_TEST_SUITE_P(
    All, Products,
    testing::Values(Case{5, 4, 3, false, false, 0, kF32, kF32, 1, 0, kPlain, "smaller than a block"},
                    Case{16, 6, 64, true, false, 0, kF32, kF32, 1, 0, kPlain, "one whole block"},
                    Case{33, 13, 70, true, false, 3, kF32, kF32, 1, 1, kPlain, "tails, padding, accumulation"},
                    Case{33, 13, 70, false, true, 5, kF32, kF32, 0.5F, 0, kPlain, "alpha"},
                    Case{17, 7, 1, true, true, 1, kF32, kF32, 1, 0, kPlain, "k of 1, both transposed"},
                    Case{33, 13, 70, true, false, 2, kBf16, kBf16, 1, 0, kPlain, "bf16"},
                    Case{33, 13, 70, false, false, 2, kBf16, kBf16, 1, 1, kPlain, "bf16 accumulation"},
                    Case{33, 13, 70, false, true, 1, kBf16, kF32, 1, 1, kPlain, "bf16 gradients in f32"},
                    Case{64, 64, 512, true, false, 0, kF32, kF32, 1, 0, CUBLAS_COMPUTE_32F_FAST_TF32, "TF32"}));

TEST(CublasLt, PermittedTf32IsFarFromF32) {
  Case c{32, 32, 256, true, false, 0, kF32, kF32, 1, 0, CUBLAS_COMPUTE_32F_FAST_TF32, ""};
  Problem fast(c);
  c.compute = kPlain;
  Problem plain(c);
  for (Problem* p : {&fast, &plain}) {
    ASSERT_EQ(p->ask(), CUBLAS_STATUS_SUCCESS);
    ASSERT_EQ(p->run(), CUBLAS_STATUS_SUCCESS);
  }
  const auto a = fast.result(), b = plain.result();
  double difference = 0, size = 0;
  for (int64_t i = 0; i < 32 * 32; ++i) {
    difference += std::pow(value_at(a, kF32, i) - value_at(b, kF32, i), 2);
    size += std::pow(value_at(b, kF32, i), 2);
  }
  EXPECT_GT(std::sqrt(difference / size), 1e-5);
}

TEST(CublasLt, BetaOfZeroReadsNothingAndTheSameCallGivesTheSameBits) {
  Problem problem({20, 9, 31, true, false, 0, kF32, kF32, 1, 0, kPlain, ""});
  EXPECT_EQ(cudaMemset(problem.d.device.at(), 0xff, problem.d.bytes.size()), cudaSuccess);  // NaN
  ASSERT_EQ(problem.ask(), CUBLAS_STATUS_SUCCESS);
  ASSERT_EQ(problem.run(), CUBLAS_STATUS_SUCCESS);
  const auto first = problem.result();
  for (int64_t i = 0; i < 20 * 9; ++i) ASSERT_TRUE(std::isfinite(value_at(first, kF32, i)));
  ASSERT_EQ(problem.run(), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(problem.result(), first);
}

TEST(CublasLt, TheWorkspaceDoesNotChangeTheBits) {
  Problem problem({40, 12, 100, true, false, 0, kF32, kF32, 1, 0, kPlain, ""});
  ASSERT_EQ(problem.ask(), CUBLAS_STATUS_SUCCESS);
  EXPECT_GT(problem.choice.workspaceSize, 0U);
  EXPECT_LE(problem.choice.workspaceSize, kWorkspace);
  ASSERT_EQ(problem.run(), CUBLAS_STATUS_SUCCESS);
  const auto with = problem.result();
  problem.allow_workspace(0);
  ASSERT_EQ(problem.ask(), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(problem.choice.workspaceSize, 0U);
  ASSERT_EQ(problem.run(), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(problem.result(), with);
}

// m, k and their leading dimensions stay as they are.
TEST(CublasLt, AnAlgorithmTakesSomeSmallerProducts) {
  Problem larger({20, 16, 31, true, false, 0, kF32, kF32, 1, 0, kPlain, ""});
  ASSERT_EQ(larger.ask(), CUBLAS_STATUS_SUCCESS);
  int taken = 0;
  for (int64_t n = 1; n <= 17; ++n) {
    Problem smaller({20, n, 31, true, false, 0, kF32, kF32, 1, 0, kPlain, ""});
    ASSERT_EQ(smaller.ask(), CUBLAS_STATUS_SUCCESS);
    ASSERT_EQ(smaller.run(), CUBLAS_STATUS_SUCCESS);
    const auto own = smaller.result();
    smaller.choice = larger.choice;
    const cublasStatus_t status = smaller.check();
    EXPECT_EQ(smaller.run(), status) << n;
    EXPECT_TRUE(n < 17 || status == CUBLAS_STATUS_NOT_SUPPORTED);
    if (status != CUBLAS_STATUS_SUCCESS) continue;
    ++taken;
    EXPECT_EQ(smaller.result(), own) << n;
  }
  EXPECT_EQ(taken, 13) << "not 5, 10 and 15";
}

TEST(CublasLt, WordsAreTheGenuineLibrarys) { EXPECT_STREQ(cublasLtGetStatusString(CUBLAS_STATUS_SUCCESS), "success"); }

}  // namespace
}  // namespace switchyard::simgpu::blas
