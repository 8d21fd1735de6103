// Every row of the table of what cuBLASLt refuses, provoked: of the stand-in and, where there is a GPU, of the genuine
// library.
#include "tests/simgpu/blas.h"
#include "tests/simgpu/blas_problem.h"
#include "tests/simgpu/replay.h"

#include <bit>
#include <functional>
#include <map>
#include <utility>

namespace switchyard::simgpu::blas {
namespace {

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
      return call == kRecheck ? problem.check() : problem.ask();
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
    void* workspace;
    size_t workspace_bytes;
  };
  static Provoke matmul(std::function<void(Arguments&, Problem&)> spoil) {
    return [=](CallName) {
      Problem p(kSmall);
      EXPECT_EQ(p.ask(), CUBLAS_STATUS_SUCCESS);
      Arguments x{&p.alpha,        &p.beta,         p.a.device.at(),  p.b.device.at(),
                  p.d.device.at(), p.d.device.at(), p.workspace.at(), kWorkspace};
      spoil(x, p);
      return cublasLtMatmul(p.handle, p.desc, x.alpha, x.a, p.a.layout, x.b, p.b.layout, x.beta, x.c, p.c_layout, x.d,
                            p.d.layout, &p.choice.algo, x.workspace, x.workspace_bytes, nullptr);
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
      {"null result",
       [](CallName) {
         P p(kSmall);
         EXPECT_EQ(p.ask(), CUBLAS_STATUS_SUCCESS);
         return cublasLtMatmulAlgoCheck(p.handle, p.desc, p.a.layout, p.b.layout, p.c_layout, p.d.layout,
                                        &p.choice.algo, nullptr);
       }},
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
      {"algo not from the heuristic", product([](P& p) { p.choice = {}; })},
      {"algo of another problem", shape("a", kLd, 7)},
      {"size that algo does not take", product([](P& p) {
         Case c = kSmall;
         c.n = 3;
         P smaller(c);
         EXPECT_EQ(smaller.ask(), CUBLAS_STATUS_SUCCESS);
         p.choice = smaller.choice;
       })},
      {"workspaceSizeInBytes", matmul([](Arguments& x, P& p) { x.workspace_bytes = p.choice.workspaceSize - 1; })},
      {"null workspace", matmul([](Arguments& x, P&) { x.workspace = nullptr; })},
      {"workspace not on 256 bytes", matmul([](Arguments& x, P& p) { x.workspace = p.workspace.at(16); })},
      {"alignment of A", matmul([](Arguments& x, P& p) { x.a = p.a.device.at(4); })},
      {"alignment of B", matmul([](Arguments& x, P& p) { x.b = p.b.device.at(4); })},
      {"alignment of C", matmul([](Arguments& x, P& p) { p.beta = 1, x.c = x.d = p.d.device.at(4); })},
      {"alignment of D", matmul([](Arguments& x, P& p) { x.c = x.d = p.d.device.at(4); })},
  };
  const auto attributes = attribute_provocations();
  constexpr const char* kCalls[] = {"create",     "destroy", "descriptor create", "set attribute", "heuristic",
                                    "algo check", "matmul"};
  int provoked = 0;
  for (const LtRefusal& row : refusals())
    for (const CallName call : {kCreate, kDestroy, kDescribe, kSet, kChoose, kRecheck, kMatmul})
      if (row.calls & call) {
        const auto& provocations = call >= kChoose ? products : attributes;
        ASSERT_TRUE(provocations.count(row.argument)) << row.argument;
        testing::internal::CaptureStderr();
        simgpu_test::replay("cublasLt", kCalls[std::countr_zero(unsigned{call})], row.argument, row.status,
                            [&] { return provocations.at(row.argument)(call); });
        const std::string said = testing::internal::GetCapturedStderr();  // of the stand-in: which row it was
        EXPECT_TRUE(said.find("simgpu:") == said.npos || said.find(row.argument) != said.npos) << said;
        ++provoked;
      }
  EXPECT_GE(provoked, 60);
}

}  // namespace
}  // namespace switchyard::simgpu::blas
