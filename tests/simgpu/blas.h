// The cuBLASLt stand-in: the arithmetic of products, descriptors and algorithms, and what is refused (refusal_table.h).
// Products are column-major with f32 accumulation in ascending k and one rounding at the end, so that the same call
// gives the same bits on every machine that has fused multiply-add.
#pragma once

#include <cublasLt.h>

#include <map>

#include "tests/simgpu/refusal_table.h"

namespace switchyard::simgpu::blas {

constexpr int64_t bytes_of(cudaDataType type) { return type == CUDA_R_32F ? 4 : 2; }  // else bf16

// D (m, n) = alpha op(A) op(B) + beta C, where C is D; op(A) is (m, k) and op(B) is (k, n).
struct Product {
  int64_t m, n, k;
  bool transpose_a, transpose_b;
  int64_t lda, ldb, ldd;  // elements from one column of the stored matrix to the next
  cudaDataType in, out;
  float alpha, beta;
  bool rounds_to_tf32;  // the call permits TF32: f32 operands lose 13 bits, as they would on the tensor cores
};

// `sums` (m, n) receives the f32 sums before alpha and beta, in 32-bit elements without padding.
void multiply(const Product& product, const void* a, const void* b, float* sums);
// D from the sums; D is read only where beta is not zero.
void finish(const Product& product, const float* sums, void* d);

float round_to_tf32(float value);  // nearest, ties away from zero, as cvt.rna.tf32.f32

struct Attribute {
  size_t bytes;
  uint64_t bits;
};
// A descriptor is a list of attributes with their sizes, as the genuine ones are; those of which we know what to do.
struct Descriptor : std::map<int, Attribute> {
  int64_t get(int id) const {
    return at(id).bytes == 4 ? static_cast<int32_t>(at(id).bits) : static_cast<int64_t>(at(id).bits);
  }
};

// What a cublasLtMatmulAlgo_t holds: for which problem it was made and what it needs.
struct Algorithm {
  uint64_t made_here;  // kMadeHere, or it did not come from the heuristic
  uint64_t problem;    // hash_of the product
  uint64_t workspace_bytes;
  uint32_t alignment[4];  // of A, B, C, D, promised by the preference
  int64_t m, n, k;        // of the product
};
static_assert(sizeof(Algorithm) == sizeof(cublasLtMatmulAlgo_t));
constexpr uint64_t kMadeHere = 0x73696d67'70754c74;

enum CallName : unsigned {
  kCreate = 1,
  kDestroy = 2,
  kDescribe = 4,
  kSet = 8,
  kChoose = 16,
  kRecheck = 32,
  kMatmul = 64
};

// The arguments of any of the calls; each fills in what it has.
struct Call {
  const void* handle = nullptr;  // or where a create writes it
  const Descriptor *matmul = nullptr, *a = nullptr, *b = nullptr, *c = nullptr, *d = nullptr, *preference = nullptr;
  const void *alpha = nullptr, *beta = nullptr, *A = nullptr, *B = nullptr, *C = nullptr, *D = nullptr;
  const Algorithm* algorithm = nullptr;
  const void* workspace = nullptr;
  size_t workspace_bytes = 0;
  int requested = 0;  // algorithms
  const void *results = nullptr, *returned = nullptr;
  const Descriptor* descriptor = nullptr;  // of an attribute call
  int attribute = 0;
  const void* buffer = nullptr;
  size_t buffer_bytes = 0;
};

using LtRefusal = RefusalRow<Call, cublasStatus_t>;
std::span<const LtRefusal> refusals();
cublasStatus_t check(CallName bit, const char* name, const Call& call);

Product product_of(const Call& call);      // shapes as A and B say
uint64_t hash_of(const Product& product);  // of all but the scalars and the sizes m, n, k
// An algorithm takes products of the sizes that it was made for, and some smaller ones.
bool takes(const Algorithm& algorithm, const Product& product);

}  // namespace switchyard::simgpu::blas
