// Products: operands are widened to f32 and laid out as op(A) and op(B), without padding; then columns of op(A) are
// added to those of the result. Every sum is one chain in ascending k. And the rows of what is refused.
#include "tests/simgpu/blas.h"

#include <cuda_bf16.h>

#include <algorithm>
#include <bit>
#include <vector>

namespace switchyard::simgpu::blas {
namespace {

float load(const void* from, cudaDataType type, int64_t at) {
  if (type == CUDA_R_32F) return static_cast<const float*>(from)[at];
  return __bfloat162float(static_cast<const __nv_bfloat16*>(from)[at]);
}

// (rows, columns) of an operand that is stored so, or transposed.
std::vector<float> widened(const Product& p, const void* from, int64_t rows, int64_t columns, int64_t ld,
                           bool transpose) {
  const int64_t row_step = transpose ? ld : 1, column_step = transpose ? 1 : ld;
  std::vector<float> out(static_cast<size_t>(rows * columns));
  float* to = out.data();
  for (int64_t j = 0; j < columns; ++j)
    for (int64_t i = 0; i < rows; ++i) *to++ = load(from, p.in, i * row_step + j * column_step);
  if (p.rounds_to_tf32 && p.in == CUDA_R_32F) std::transform(out.begin(), out.end(), out.begin(), round_to_tf32);
  return out;
}

}  // namespace

float round_to_tf32(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7f800000u) == 0x7f800000u) return value;
  return std::bit_cast<float>((bits + 0x1000u) & ~0x1fffu);
}

void multiply(const Product& p, const void* a, const void* b, float* sums) {
  const std::vector<float> left = widened(p, a, p.m, p.k, p.lda, p.transpose_a);
  const std::vector<float> right = widened(p, b, p.k, p.n, p.ldb, p.transpose_b);
  std::fill_n(sums, p.m * p.n, 0.0F);
  for (int64_t j = 0; j < p.n; ++j)
    for (int64_t q = 0; q < p.k; ++q) {
      const float factor = right[static_cast<size_t>(j * p.k + q)];
      const float* column = &left[static_cast<size_t>(q * p.m)];
      for (int64_t i = 0; i < p.m; ++i) sums[j * p.m + i] += column[i] * factor;
    }
}

void finish(const Product& p, const float* sums, void* d) {
  for (int64_t j = 0; j < p.n; ++j)
    for (int64_t i = 0; i < p.m; ++i) {
      const int64_t at = j * p.ldd + i;
      float value = p.alpha * sums[j * p.m + i];
      if (p.beta != 0) value += p.beta * load(d, p.out, at);
      if (p.out == CUDA_R_32F)
        static_cast<float*>(d)[at] = value;
      else
        static_cast<__nv_bfloat16*>(d)[at] = __float2bfloat16_rn(value);
    }
}

// ---- what is refused

namespace {

using C = const Call&;
constexpr auto *kText = "cublasLtMatmul()", *kChoice = "cublasLtMatmulAlgoGetHeuristic()";
constexpr auto *kSetter = "cublasLtMatmulDescSetAttribute()", *kCheck = "cublasLtMatmulAlgoCheck()";
constexpr auto *kLayout = "cublasLtMatrixLayoutAttribute_t", *kAssumed = "which does not say: assumed";
constexpr int kLastAttribute = CUBLASLT_MATMUL_DESC_EMULATION_DESCRIPTOR;  // of any descriptor
constexpr unsigned kProduct = kChoose | kRecheck | kMatmul, kWithAlgo = kRecheck | kMatmul;
constexpr auto kInvalid = CUBLAS_STATUS_INVALID_VALUE;
constexpr auto kUnsupported = CUBLAS_STATUS_NOT_SUPPORTED;

int64_t rows(const Descriptor* layout) { return layout->get(CUBLASLT_MATRIX_LAYOUT_ROWS); }
int64_t columns(const Descriptor* layout) { return layout->get(CUBLASLT_MATRIX_LAYOUT_COLS); }
cudaDataType type(const Descriptor* layout) {
  return static_cast<cudaDataType>(layout->get(CUBLASLT_MATRIX_LAYOUT_TYPE));
}
int64_t ld(const Descriptor* layout) { return layout->get(CUBLASLT_MATRIX_LAYOUT_LD); }
bool short_ld(const Descriptor* layout) { return ld(layout) < rows(layout); }
int64_t k_of_b(const Call& c) { return product_of(c).transpose_b ? columns(c.b) : rows(c.b); }
bool misaligned(const void* p, size_t alignment) { return reinterpret_cast<uintptr_t>(p) % alignment != 0; }
bool reads_c(const Call& c) { return *static_cast<const float*>(c.beta) != 0; }

bool is_empty(const Product& p) { return p.m < 1 || p.n < 1 || p.k < 1; }
bool wrong_size(const Call& c) {
  const auto known = c.descriptor->find(c.attribute);
  return known != c.descriptor->end() && c.buffer_bytes != known->second.bytes;
}
bool types_do_not_combine(const Call& c) {  // of the types that the backend uses
  const cudaDataType in = type(c.a), out = type(c.d);
  const int64_t compute = c.matmul->get(CUBLASLT_MATMUL_DESC_COMPUTE_TYPE);
  if (compute == CUBLAS_COMPUTE_32F_FAST_TF32 || in == CUDA_R_32F) return in != CUDA_R_32F || out != CUDA_R_32F;
  return in == CUDA_R_16BF && out != CUDA_R_16BF && out != CUDA_R_32F;
}

constexpr LtRefusal kRefusals[] = {
    // Seen of the genuine library, on a machine without a GPU.
    {kCreate, "null handle pointer", kInvalid, "cublasLtCreate()", [](C c) { return !c.handle; }},
    {kDestroy, "null handle", kInvalid, "cublasLtDestroy()", [](C c) { return !c.handle; }},
    {kDescribe, "null descriptor pointer", kInvalid, "cublasLtMatmulDescCreate()", [](C c) { return !c.handle; }},
    {kSet, "null descriptor", kInvalid, kSetter, [](C c) { return !c.descriptor; }},
    {kSet, "unknown attribute", kInvalid, kSetter, [](C c) { return c.attribute < 0 || c.attribute > kLastAttribute; }},
    {kSet, "null buffer", kInvalid, kSetter, [](C c) { return !c.buffer; }},
    {kSet, "size of the buffer", kInvalid, kSetter, wrong_size},
    {kProduct, "null handle", CUBLAS_STATUS_NOT_INITIALIZED, kText, [](C c) { return !c.handle; }},

    // As the guide has it.
    {kProduct, "null descriptor", kInvalid, kText, [](C c) { return !c.matmul || !c.a || !c.b || !c.c || !c.d; }},
    {kChoose, "null preference", kInvalid, kChoice, [](C c) { return !c.preference; }},
    {kChoose, "null results", kInvalid, kChoice, [](C c) { return !c.results || !c.returned; }},
    {kChoose, "requestedAlgoCount below 1", kInvalid, kChoice, [](C c) { return c.requested < 1; }},
    {kMatmul, "null alpha", kInvalid, kText, [](C c) { return !c.alpha; }},
    {kMatmul, "null beta", kInvalid, kText, [](C c) { return !c.beta; }},
    {kMatmul, "null A", kInvalid, kText, [](C c) { return !c.A; }},
    {kMatmul, "null B", kInvalid, kText, [](C c) { return !c.B; }},
    {kMatmul, "null C", kInvalid, kText, [](C c) { return !c.C && reads_c(c); }},
    {kMatmul, "null D", kInvalid, kText, [](C c) { return !c.D; }},

    {kProduct, "A and B of different types", kUnsupported, kText, [](C c) { return type(c.a) != type(c.b); }},
    {kProduct, "C and D of different types", kUnsupported, kText, [](C c) { return type(c.c) != type(c.d); }},
    {kProduct, "type of D", kUnsupported, kText, types_do_not_combine},
    {kProduct, "scale type", kUnsupported, kText,
     [](C c) { return c.matmul->get(CUBLASLT_MATMUL_DESC_SCALE_TYPE) != CUDA_R_32F; }},
    {kProduct, "a dimension of 0", kInvalid, kAssumed, [](C c) { return is_empty(product_of(c)); }},
    {kProduct, "k of A and of B", kInvalid, kText, [](C c) { return product_of(c).k != k_of_b(c); }},
    {kProduct, "shape of D", kInvalid, kText,
     [](C c) { return rows(c.d) != product_of(c).m || columns(c.d) != product_of(c).n; }},
    {kProduct, "shape of C", kInvalid, kText,
     [](C c) { return rows(c.c) != rows(c.d) || columns(c.c) != columns(c.d); }},
    {kProduct, "lda", kInvalid, kLayout, [](C c) { return short_ld(c.a); }},
    {kProduct, "ldb", kInvalid, kLayout, [](C c) { return short_ld(c.b); }},
    {kProduct, "ldc", kInvalid, kLayout, [](C c) { return short_ld(c.c); }},
    {kProduct, "ldd", kInvalid, kLayout, [](C c) { return short_ld(c.d); }},

    {kRecheck, "null result", kInvalid, kCheck, [](C c) { return !c.algorithm || !c.results; }},
    {kWithAlgo, "algo not from the heuristic", kInvalid, kCheck,
     [](C c) { return c.algorithm->made_here != kMadeHere; }},
    {kWithAlgo, "algo of another problem", kInvalid, kCheck,
     [](C c) { return c.algorithm->problem != hash_of(product_of(c)); }},
    {kMatmul, "size that algo does not take", kUnsupported, kAssumed,
     [](C c) { return !takes(*c.algorithm, product_of(c)); }},
    {kMatmul, "workspaceSizeInBytes", kInvalid, kText,
     [](C c) { return c.workspace_bytes < c.algorithm->workspace_bytes; }},
    {kMatmul, "null workspace", kInvalid, kText, [](C c) { return !c.workspace && c.algorithm->workspace_bytes > 0; }},
    {kMatmul, "workspace not on 256 bytes", kInvalid, kText, [](C c) { return misaligned(c.workspace, 256); }},
    {kMatmul, "alignment of A", kInvalid, kAssumed, [](C c) { return misaligned(c.A, c.algorithm->alignment[0]); }},
    {kMatmul, "alignment of B", kInvalid, kAssumed, [](C c) { return misaligned(c.B, c.algorithm->alignment[1]); }},
    {kMatmul, "alignment of C", kInvalid, kAssumed,
     [](C c) { return reads_c(c) && misaligned(c.C, c.algorithm->alignment[2]); }},
    {kMatmul, "alignment of D", kInvalid, kAssumed, [](C c) { return misaligned(c.D, c.algorithm->alignment[3]); }},
};

}  // namespace

std::span<const LtRefusal> refusals() { return kRefusals; }

cublasStatus_t check(CallName bit, const char* name, const Call& call) {
  return first_refusal<Call, cublasStatus_t>(kRefusals, bit, name, call);
}

Product product_of(const Call& c) {
  Product p{};
  p.transpose_a = c.matmul->get(CUBLASLT_MATMUL_DESC_TRANSA) != CUBLAS_OP_N;
  p.transpose_b = c.matmul->get(CUBLASLT_MATMUL_DESC_TRANSB) != CUBLAS_OP_N;
  p.m = p.transpose_a ? columns(c.a) : rows(c.a);
  p.n = p.transpose_b ? rows(c.b) : columns(c.b);
  p.k = p.transpose_a ? rows(c.a) : columns(c.a);
  p.lda = ld(c.a);
  p.ldb = ld(c.b);
  p.ldd = ld(c.d);
  p.in = type(c.a);
  p.out = type(c.d);
  p.alpha = c.alpha ? *static_cast<const float*>(c.alpha) : 0;
  p.beta = c.beta ? *static_cast<const float*>(c.beta) : 0;
  p.rounds_to_tf32 = c.matmul->get(CUBLASLT_MATMUL_DESC_COMPUTE_TYPE) == CUBLAS_COMPUTE_32F_FAST_TF32;
  return p;
}

uint64_t hash_of(const Product& p) {
  uint64_t hash = 14695981039346656037ull;
  for (const int64_t value : {p.lda, p.ldb, p.ldd, int64_t{p.transpose_a}, int64_t{p.transpose_b}, int64_t(p.in),
                              int64_t(p.out), int64_t{p.rounds_to_tf32}})
    hash = (hash ^ static_cast<uint64_t>(value)) * 1099511628211ull;
  return hash;
}

// Which of the smaller ones the genuine library's take is not known; ours refuse a fifth, so that there are both.
bool takes(const Algorithm& a, const Product& p) {
  if (a.m == p.m && a.n == p.n && a.k == p.k) return true;
  return p.m <= a.m && p.n <= a.n && p.k <= a.k && p.n % 5 != 0 && p.k % 5 != 0;
}

}  // namespace switchyard::simgpu::blas
