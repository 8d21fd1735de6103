// What the genuine cuBLASLt and NCCL take and the stand-ins do not know: each is a finding, so that a program which
// relies on it cannot pass.
#include "tests/simgpu/control.h"

#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <nccl.h>

#include <string>

namespace {

class NotSimulated : public testing::Test {
 protected:
  void SetUp() override {
    forget_ = reinterpret_cast<decltype(&simgpu_forget)>(dlsym(RTLD_DEFAULT, "simgpu_forget"));
    count_ = reinterpret_cast<decltype(&simgpu_finding_count)>(dlsym(RTLD_DEFAULT, "simgpu_finding_count"));
    finding_ = reinterpret_cast<decltype(&simgpu_finding)>(dlsym(RTLD_DEFAULT, "simgpu_finding"));
    if (forget_ == nullptr) GTEST_SKIP() << "no simulator";
    forget_();
  }
  void TearDown() override {
    if (forget_ != nullptr) forget_();
  }
  void expect_finding(const std::string& part) {
    ASSERT_EQ(count_(), 1) << part;
    EXPECT_NE(std::string(finding_(0)).find(part), std::string::npos) << finding_(0);
    forget_();
  }

  decltype(&simgpu_forget) forget_ = nullptr;
  decltype(&simgpu_finding_count) count_ = nullptr;
  decltype(&simgpu_finding) finding_ = nullptr;
};

TEST_F(NotSimulated, CublasLtsOtherAttributesAndTypes) {
  cublasLtMatmulDesc_t desc = nullptr;
  ASSERT_EQ(cublasLtMatmulDescCreate(&desc, CUBLAS_COMPUTE_32F_EMULATED_16BFX9, CUDA_R_32F), CUBLAS_STATUS_SUCCESS);
  const uint32_t bias = CUBLASLT_EPILOGUE_BIAS;
  EXPECT_EQ(cublasLtMatmulDescSetAttribute(desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &bias, 4), CUBLAS_STATUS_NOT_SUPPORTED);
  expect_finding("SetAttribute of attribute 7");
  cublasLtHandle_t handle = nullptr;
  cublasLtMatrixLayout_t layout = nullptr;
  cublasLtMatmulPreference_t preference = nullptr;
  ASSERT_EQ(cublasLtCreate(&handle), CUBLAS_STATUS_SUCCESS);
  ASSERT_EQ(cublasLtMatrixLayoutCreate(&layout, CUDA_R_32F, 8, 8, 8), CUBLAS_STATUS_SUCCESS);
  ASSERT_EQ(cublasLtMatmulPreferenceCreate(&preference), CUBLAS_STATUS_SUCCESS);
  cublasLtMatmulHeuristicResult_t result{};
  int found = 0;
  EXPECT_EQ(
      cublasLtMatmulAlgoGetHeuristic(handle, desc, layout, layout, layout, layout, preference, 1, &result, &found),
      CUBLAS_STATUS_NOT_SUPPORTED);
  expect_finding("compute type 78");
  cublasLtMatmulPreferenceDestroy(preference);
  cublasLtMatrixLayoutDestroy(layout);
  cublasLtMatmulDescDestroy(desc);
  cublasLtDestroy(handle);
}

TEST_F(NotSimulated, NcclsOtherTypesOperationsAndGroups) {
  ncclUniqueId id;
  ncclComm_t comm = nullptr;
  ASSERT_EQ(ncclGetUniqueId(&id), ncclSuccess);
  ASSERT_EQ(ncclCommInitRank(&comm, 1, id, 0), ncclSuccess);
  void* data = nullptr;
  cudaStream_t first = nullptr, second = nullptr;
  ASSERT_EQ(cudaMalloc(&data, 64), cudaSuccess);
  ASSERT_EQ(cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking), cudaSuccess);
  ASSERT_EQ(cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking), cudaSuccess);

  EXPECT_EQ(ncclAllReduce(data, data, 4, ncclFloat16, ncclSum, comm, first), ncclInvalidUsage);
  expect_finding("type 6");
  EXPECT_EQ(ncclAllReduce(data, data, 4, ncclFloat32, ncclAvg, comm, first), ncclInvalidUsage);
  expect_finding("op 4");
  EXPECT_EQ(ncclGroupStart(), ncclSuccess);
  EXPECT_EQ(ncclAllReduce(data, data, 4, ncclFloat32, ncclSum, comm, first), ncclSuccess);
  EXPECT_EQ(ncclAllReduce(data, data, 4, ncclFloat32, ncclSum, comm, second), ncclSuccess);
  EXPECT_EQ(ncclGroupEnd(), ncclInvalidUsage);
  expect_finding("a group that uses several streams");
  EXPECT_EQ(ncclGroupStart(), ncclSuccess);
  ncclComm_t part = nullptr;
  EXPECT_EQ(ncclCommSplit(comm, 0, 0, &part, nullptr), ncclInvalidUsage);
  EXPECT_EQ(ncclGroupEnd(), ncclSuccess);
  expect_finding("ncclCommSplit inside a group");

  EXPECT_EQ(ncclCommDestroy(comm), ncclSuccess);
  EXPECT_EQ(cudaStreamDestroy(first), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(second), cudaSuccess);
  EXPECT_EQ(cudaFree(data), cudaSuccess);
}

}  // namespace
