// The cuBLASLt stand-in: products against plain loops, the bytes that they touch, and every row of its refusals. An
// ordinary CUDA program but for the table, so that it also says what the genuine library does where there is a GPU.
#include "tests/simgpu/blas_gemm.h"
#include "tests/simgpu/blas_refusals.h"
#include "tests/simgpu/replay.h"

#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace switchyard::simgpu::blas {
namespace {

constexpr size_t kWorkspace = 1 << 20;

class DeviceArray {
 public:
  explicit DeviceArray(size_t bytes) { EXPECT_EQ(cudaMalloc(&data_, bytes), cudaSuccess); }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  void* at(size_t bytes = 0) const { return static_cast<char*>(data_) + bytes; }

 private:
  void* data_ = nullptr;
};

struct Case {
  int64_t m, n, k;
  bool transpose_a, transpose_b;
  int64_t padding;  // added to each leading dimension
  cudaDataType_t in, out;
  float alpha, beta;
  cublasComputeType_t compute;
  const char* why;
};

size_t size_of(cudaDataType_t type) { return type == CUDA_R_32F ? 4 : 2; }
float value_at(const std::vector<uint8_t>& bytes, cudaDataType_t type, int64_t i) {
  if (type == CUDA_R_32F) return reinterpret_cast<const float*>(bytes.data())[i];
  return __bfloat162float(reinterpret_cast<const __nv_bfloat16*>(bytes.data())[i]);
}

struct Matrix {
  Matrix(int64_t rows_, int64_t columns_, int64_t ld_, cudaDataType_t type_, int seed)
      : rows(rows_),
        columns(columns_),
        ld(ld_),
        type(type_),
        bytes(static_cast<size_t>(ld * columns) * size_of(type)),
        device(bytes.size()) {
    for (int64_t i = 0; i < ld * columns; ++i) {
      const float value = static_cast<float>((i * 7919 + seed * 31) % 257 - 128) / 64;
      if (type == CUDA_R_32F)
        reinterpret_cast<float*>(bytes.data())[i] = value * 1.001F;
      else
        reinterpret_cast<__nv_bfloat16*>(bytes.data())[i] = __float2bfloat16_rn(value);
    }
    EXPECT_EQ(cudaMemcpy(device.at(), bytes.data(), bytes.size(), cudaMemcpyHostToDevice), cudaSuccess);
    EXPECT_EQ(
        cublasLtMatrixLayoutCreate(&layout, type, static_cast<uint64_t>(rows), static_cast<uint64_t>(columns), ld),
        CUBLAS_STATUS_SUCCESS);
  }
  ~Matrix() { cublasLtMatrixLayoutDestroy(layout); }
  double operator()(int64_t i, int64_t j) const { return value_at(bytes, type, j * ld + i); }

  int64_t rows, columns, ld;
  cudaDataType_t type;
  std::vector<uint8_t> bytes;
  DeviceArray device;
  cublasLtMatrixLayout_t layout = nullptr;
};

struct Problem {  // a product with everything that its calls need
  explicit Problem(const Case& c)
      : a(c.transpose_a ? c.k : c.m, c.transpose_a ? c.m : c.k, (c.transpose_a ? c.k : c.m) + c.padding, c.in, 1),
        b(c.transpose_b ? c.n : c.k, c.transpose_b ? c.k : c.n, (c.transpose_b ? c.n : c.k) + c.padding, c.in, 2),
        d(c.m, c.n, c.m + c.padding, c.out, 3),
        alpha(c.alpha),
        beta(c.beta),
        workspace(kWorkspace) {
    EXPECT_EQ(cublasLtCreate(&handle), CUBLAS_STATUS_SUCCESS);
    EXPECT_EQ(cublasLtMatmulDescCreate(&desc, c.compute, CUDA_R_32F), CUBLAS_STATUS_SUCCESS);
    set_transpose(CUBLASLT_MATMUL_DESC_TRANSA, c.transpose_a);
    set_transpose(CUBLASLT_MATMUL_DESC_TRANSB, c.transpose_b);
    EXPECT_EQ(cublasLtMatmulPreferenceCreate(&preference), CUBLAS_STATUS_SUCCESS);
    allow_workspace(kWorkspace);
    EXPECT_EQ(
        cublasLtMatrixLayoutCreate(&c_layout, d.type, static_cast<uint64_t>(c.m), static_cast<uint64_t>(c.n), d.ld),
        CUBLAS_STATUS_SUCCESS);
  }
  ~Problem() {
    cublasLtMatrixLayoutDestroy(c_layout);
    cublasLtMatmulPreferenceDestroy(preference);
    cublasLtMatmulDescDestroy(desc);
    cublasLtDestroy(handle);
  }
  void set_transpose(cublasLtMatmulDescAttributes_t which, bool transposes) {
    const cublasOperation_t operation = transposes ? CUBLAS_OP_T : CUBLAS_OP_N;
    EXPECT_EQ(cublasLtMatmulDescSetAttribute(desc, which, &operation, sizeof operation), CUBLAS_STATUS_SUCCESS);
  }
  void allow_workspace(uint64_t bytes) {
    EXPECT_EQ(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes,
                                                   sizeof bytes),
              CUBLAS_STATUS_SUCCESS);
  }
  cublasStatus_t ask() {
    int found = 0;
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(handle, desc, a.layout, b.layout, c_layout, d.layout,
                                                                 preference, 1, &choice, &found);
    EXPECT_EQ(found, status == CUBLAS_STATUS_SUCCESS ? 1 : 0);
    return status;
  }
  cublasStatus_t run() {
    return cublasLtMatmul(handle, desc, &alpha, a.device.at(), a.layout, b.device.at(), b.layout, &beta, d.device.at(),
                          c_layout, d.device.at(), d.layout, &choice.algo, workspace.at(), kWorkspace, nullptr);
  }
  std::vector<uint8_t> result() {
    std::vector<uint8_t> bytes(d.bytes.size());
    EXPECT_EQ(cudaMemcpy(bytes.data(), d.device.at(), bytes.size(), cudaMemcpyDeviceToHost), cudaSuccess);
    return bytes;
  }

  Matrix a, b, d;
  float alpha, beta;
  DeviceArray workspace;
  cublasLtHandle_t handle = nullptr;
  cublasLtMatmulDesc_t desc = nullptr;
  cublasLtMatmulPreference_t preference = nullptr;
  cublasLtMatmulHeuristicResult_t choice{};
  cublasLtMatrixLayout_t c_layout = nullptr;
};

constexpr auto kF32 = CUDA_R_32F;
constexpr auto kBf16 = CUDA_R_16BF;
constexpr auto kPlain = CUBLAS_COMPUTE_32F;
constexpr Case kSmall{5, 4, 3, false, false, 0, kF32, kF32, 1, 0, kPlain, "what refusals start from"};

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

TEST(CublasLt, WordsAreTheGenuineLibrarys) { EXPECT_STREQ(cublasLtGetStatusString(CUBLAS_STATUS_SUCCESS), "success"); }

// How each row comes about, by its argument: `product` for those that the heuristic and the product share.
class Refusals : public testing::Test {
 protected:
  using Provoke = std::function<cublasStatus_t(CallName)>;

  // A good problem, changed, then asked or run.
  static Provoke product(std::function<void(Problem&)> change, Case c = kSmall) {
    return [=](CallName call) {
      Problem problem(c);
      EXPECT_EQ(problem.ask(), CUBLAS_STATUS_SUCCESS);
      change(problem);
      if (call == kMatmul) return problem.run();
      return problem.ask();
    };
  }
  // The layouts of the matrices named, made anew with another value.
  enum Field { kRows, kLd, kType };
  static Provoke shape(std::string matrices, Field field, int64_t value) {
    return product([=](Problem& p) {
      for (const char matrix : matrices) {
        Matrix& m = matrix == 'a' ? p.a : matrix == 'b' ? p.b : p.d;
        cublasLtMatrixLayout_t& layout = matrix == 'c' ? p.c_layout : m.layout;
        cublasLtMatrixLayoutDestroy(layout);
        EXPECT_EQ(cublasLtMatrixLayoutCreate(&layout, field == kType ? static_cast<cudaDataType_t>(value) : m.type,
                                             static_cast<uint64_t>(field == kRows ? value : m.rows),
                                             static_cast<uint64_t>(m.columns), field == kLd ? value : m.ld),
                  CUBLAS_STATUS_SUCCESS);
      }
    });
  }
  struct Arguments {  // of a product, to be spoiled one at a time
    const void *alpha, *beta, *a, *b, *c;
    void* d;
    const cublasLtMatmulAlgo_t* algo;
    void* workspace;
    size_t workspace_bytes;
  };
  static Provoke matmul(std::function<void(Arguments&, Problem&)> spoil) {
    return [=](CallName) {
      Problem p(kSmall);
      EXPECT_EQ(p.ask(), CUBLAS_STATUS_SUCCESS);
      Arguments x{&p.alpha,        &p.beta,        p.a.device.at(),  p.b.device.at(), p.d.device.at(),
                  p.d.device.at(), &p.choice.algo, p.workspace.at(), kWorkspace};
      spoil(x, p);
      return cublasLtMatmul(p.handle, p.desc, x.alpha, x.a, p.a.layout, x.b, p.b.layout, x.beta, x.c, p.c_layout, x.d,
                            p.d.layout, x.algo, x.workspace, x.workspace_bytes, nullptr);
    };
  }
};

std::map<std::string, std::function<cublasStatus_t(CallName)>> attribute_provocations() {
  const auto attribute = [](cublasLtMatmulDesc_t desc, int id, bool has_buffer, size_t bytes) {
    int64_t buffer = 0;
    const auto which = static_cast<cublasLtMatmulDescAttributes_t>(id);
    void* pointer = has_buffer ? &buffer : nullptr;
    return cublasLtMatmulDescSetAttribute(desc, which, pointer, bytes);
  };
  const auto on_good = [=](int id, bool has_buffer, size_t bytes) {
    return [=](CallName) {
      Problem problem(kSmall);
      return attribute(problem.desc, id, has_buffer, bytes);
    };
  };
  return {{"null descriptor", [=](CallName) { return attribute(nullptr, CUBLASLT_MATMUL_DESC_TRANSA, true, 4); }},
          {"unknown attribute", on_good(999, true, 4)},
          {"null buffer", on_good(CUBLASLT_MATMUL_DESC_TRANSA, false, 4)},
          {"size of the buffer", on_good(CUBLASLT_MATMUL_DESC_TRANSA, true, 2)},
          {"null handle pointer", [](CallName) { return cublasLtCreate(nullptr); }},
          {"null handle", [](CallName) { return cublasLtDestroy(nullptr); }},
          {"null descriptor pointer", [](CallName) { return cublasLtMatmulPreferenceCreate(nullptr); }}};
}

TEST_F(Refusals, EachRowIsRefusedWithItsStatus) {
  using P = Problem;
  cublasLtMatmulAlgo_t foreign{};
  const auto heuristic = [](bool has_preference, bool has_results, int requested) {
    return [=](CallName) {
      Problem p(kSmall);
      int found = 0;
      return cublasLtMatmulAlgoGetHeuristic(p.handle, p.desc, p.a.layout, p.b.layout, p.c_layout, p.d.layout,
                                            has_preference ? p.preference : nullptr, requested,
                                            has_results ? &p.choice : nullptr, &found);
    };
  };
  const std::map<std::string, Provoke> products = {
      {"null handle", product([](P& p) { cublasLtDestroy(std::exchange(p.handle, nullptr)); })},
      {"null descriptor", product([](P& p) { cublasLtMatmulDescDestroy(std::exchange(p.desc, nullptr)); })},
      {"null preference", heuristic(false, true, 1)},
      {"null results", heuristic(true, false, 1)},
      {"requestedAlgoCount below 1", heuristic(true, true, 0)},
      {"null alpha", matmul([](Arguments& x, P&) { x.alpha = nullptr; })},
      {"null beta", matmul([](Arguments& x, P&) { x.beta = nullptr; })},
      {"null A", matmul([](Arguments& x, P&) { x.a = nullptr; })},
      {"null B", matmul([](Arguments& x, P&) { x.b = nullptr; })},
      {"null C", matmul([](Arguments& x, P& p) { p.beta = 1, x.c = nullptr; })},
      {"null D", matmul([](Arguments& x, P&) { x.c = x.d = nullptr; })},
      {"A and B of different types", shape("a", kType, kBf16)},
      {"C and D of different types", shape("c", kType, kBf16)},
      {"type of D", shape("cd", kType, kBf16)},
      {"scale type", product([](P& p) {
         const int32_t f64 = CUDA_R_64F;
         cublasLtMatmulDescSetAttribute(p.desc, CUBLASLT_MATMUL_DESC_SCALE_TYPE, &f64, 4);
       })},
      {"a dimension of 0", shape("a", kRows, 0)},
      {"k of A and of B", shape("b", kRows, 2)},
      {"shape of D", shape("d", kRows, 4)},
      {"shape of C", shape("c", kRows, 4)},
      {"lda", shape("a", kLd, 4)},
      {"ldb", shape("b", kLd, 2)},
      {"ldc", shape("c", kLd, 4)},
      {"ldd", shape("d", kLd, 4)},
      {"algo not from the heuristic", matmul([&](Arguments& x, P&) { x.algo = &foreign; })},
      {"algo of another problem", shape("a", kLd, 7)},
      {"workspaceSizeInBytes", matmul([](Arguments& x, P& p) { x.workspace_bytes = p.choice.workspaceSize - 1; })},
      {"null workspace", matmul([](Arguments& x, P&) { x.workspace = nullptr; })},
      {"workspace not on 256 bytes", matmul([](Arguments& x, P& p) { x.workspace = p.workspace.at(16); })},
      {"alignment of A", matmul([](Arguments& x, P& p) { x.a = p.a.device.at(4); })},
      {"alignment of B", matmul([](Arguments& x, P& p) { x.b = p.b.device.at(4); })},
      {"alignment of C", matmul([](Arguments& x, P& p) { p.beta = 1, x.c = x.d = p.d.device.at(4); })},
      {"alignment of D", matmul([](Arguments& x, P& p) { x.c = x.d = p.d.device.at(4); })},
  };
  const auto attributes = attribute_provocations();
  constexpr const char* kCalls[] = {"create", "destroy", "descriptor create", "set attribute", "heuristic", "matmul"};
  int provoked = 0;
  for (const LtRefusal& row : refusals())
    for (const CallName call : {kCreate, kDestroy, kDescriptorCreate, kSet, kHeuristic, kMatmul})
      if (row.calls & call) {
        const auto& provocations = call == kHeuristic || call == kMatmul ? products : attributes;
        ASSERT_TRUE(provocations.count(row.argument)) << row.argument;
        testing::internal::CaptureStderr();
        simgpu_test::replay("cublasLt", kCalls[std::countr_zero(unsigned{call})], row.argument, row.status,
                            [&] { return provocations.at(row.argument)(call); });
        const std::string said = testing::internal::GetCapturedStderr();  // of the stand-in: which row it was
        EXPECT_TRUE(said.find("simgpu:") == said.npos || said.find(row.argument) != said.npos) << said;
        ++provoked;
      }
  EXPECT_GE(provoked, 45);
}

}  // namespace
}  // namespace switchyard::simgpu::blas
