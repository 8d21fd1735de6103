// Operands are widened to f32 and laid out as op(A) and op(B), without padding; then columns of op(A) are added to
// those of the result. Every sum is one chain in ascending k.
#include "tests/simgpu/blas.h"

#include <cuda_bf16.h>

#include <algorithm>
#include <bit>
#include <vector>

namespace switchyard::simgpu::blas {
namespace {

float load(const void* from, Element element, int64_t at) {
  if (element == Element::f32) return static_cast<const float*>(from)[at];
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
  if (p.rounds_to_tf32 && p.in == Element::f32) std::transform(out.begin(), out.end(), out.begin(), round_to_tf32);
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
      if (p.out == Element::f32)
        static_cast<float*>(d)[at] = value;
      else
        static_cast<__nv_bfloat16*>(d)[at] = __float2bfloat16_rn(value);
    }
}

}  // namespace switchyard::simgpu::blas
