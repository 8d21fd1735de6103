// What the cuBLASLt stand-in refuses (refusal_table.h), and the descriptors and algorithms that the rows look at.
#pragma once

#include "tests/simgpu/blas_gemm.h"
#include "tests/simgpu/refusal_table.h"

#include <cublasLt.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>

namespace switchyard::simgpu::blas {

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
  kDescriptorCreate = 4,
  kSet = 8,
  kHeuristic = 16,
  kAlgoCheck = 32,
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
