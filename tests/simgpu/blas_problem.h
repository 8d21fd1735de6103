// A product with all that its calls of cuBLASLt need, for tests of the stand-in.
#pragma once

#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace switchyard::simgpu::blas {

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

inline size_t size_of(cudaDataType_t type) { return type == CUDA_R_32F ? 4 : 2; }
inline float value_at(const std::vector<uint8_t>& bytes, cudaDataType_t type, int64_t i) {
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
  cublasStatus_t check() {
    cublasLtMatmulHeuristicResult_t result{};
    return cublasLtMatmulAlgoCheck(handle, desc, a.layout, b.layout, c_layout, d.layout, &choice.algo, &result);
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

}  // namespace switchyard::simgpu::blas
