// The arithmetic behind the cuBLASLt stand-in: column-major products with f32 accumulation in ascending k and one
// rounding at the end, so that the same call gives the same bits on every machine that has fused multiply-add.
#pragma once

#include <cstdint>

namespace switchyard::simgpu::blas {

enum class Element : uint8_t { f32, bf16 };
constexpr int64_t bytes_of(Element element) { return element == Element::f32 ? 4 : 2; }

// D (m, n) = alpha op(A) op(B) + beta C, where C is D; op(A) is (m, k) and op(B) is (k, n).
struct Product {
  int64_t m, n, k;
  bool transpose_a, transpose_b;
  int64_t lda, ldb, ldd;  // elements from one column of the stored matrix to the next
  Element in, out;
  float alpha, beta;
  bool rounds_to_tf32;  // the call permits TF32: f32 operands lose 13 bits, as they would on the tensor cores
};

// `sums` (m, n) receives the f32 sums before alpha and beta, in 32-bit elements without padding.
void multiply(const Product& product, const void* a, const void* b, float* sums);
// D from the sums; D is read only where beta is not zero.
void finish(const Product& product, const float* sums, void* d);

float round_to_tf32(float value);  // nearest, ties away from zero, as cvt.rna.tf32.f32

}  // namespace switchyard::simgpu::blas
