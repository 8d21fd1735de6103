// Operands are copied into panels of 16 rows of op(A) and 6 columns of op(B), zero padded and widened to f32; one loop
// over k then keeps a 16 x 6 block of sums in vector registers. Every sum is one chain in ascending k.
#include "tests/simgpu/blas_gemm.h"

#include <cuda_bf16.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

namespace switchyard::simgpu::blas {
namespace {

constexpr int64_t kRows = 16, kColumns = 6;
using Lanes = float __attribute__((vector_size(kRows * sizeof(float))));

float load(const float* p) { return *p; }
float load(const uint16_t* p) { return std::bit_cast<float>(static_cast<uint32_t>(*p) << 16); }

// Panel p of `width` lanes, as [k][width]: lane l of step q is element (p * width + l, q) of the operand.
template <int64_t width, class Stored>
void pack(const Stored* source, int64_t lanes, int64_t k, int64_t ld, bool lanes_are_adjacent, bool tf32,
          float* panel) {
  const int64_t lane_step = lanes_are_adjacent ? 1 : ld, k_step = lanes_are_adjacent ? ld : 1;
  for (int64_t start = 0; start < lanes; start += width, panel += width * k) {
    const int64_t live = std::min(width, lanes - start);
    for (int64_t q = 0; q < k; ++q) {
      const Stored* from = source + start * lane_step + q * k_step;
      float* to = panel + q * width;
      for (int64_t l = 0; l < live; ++l) to[l] = load(from + l * lane_step);
      for (int64_t l = live; l < width; ++l) to[l] = 0;
      if (tf32)
        for (int64_t l = 0; l < live; ++l) to[l] = round_to_tf32(to[l]);
    }
  }
}

template <int64_t width>
std::vector<float> packed(Element element, const void* source, int64_t lanes, int64_t k, int64_t ld,
                          bool lanes_are_adjacent, bool tf32) {
  std::vector<float> panels(static_cast<size_t>((lanes + width - 1) / width * width * k));
  if (element == Element::f32)
    pack<width>(static_cast<const float*>(source), lanes, k, ld, lanes_are_adjacent, tf32, panels.data());
  else
    pack<width>(static_cast<const uint16_t*>(source), lanes, k, ld, lanes_are_adjacent, false, panels.data());
  return panels;
}

void multiply_block(int64_t k, const float* a, const float* b, int64_t rows, int64_t columns, int64_t m, float* sums) {
  Lanes block[kColumns] = {};
  for (int64_t q = 0; q < k; ++q) {
    Lanes row;
    std::memcpy(&row, a + q * kRows, sizeof row);
    for (int64_t j = 0; j < kColumns; ++j) block[j] += row * b[q * kColumns + j];
  }
  for (int64_t j = 0; j < columns; ++j) std::memcpy(sums + j * m, &block[j], static_cast<size_t>(rows) * sizeof(float));
}

}  // namespace

float round_to_tf32(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7f800000u) == 0x7f800000u) return value;
  return std::bit_cast<float>((bits + 0x1000u) & ~0x1fffu);
}

void multiply(const Product& p, const void* a, const void* b, float* sums) {
  const bool tf32 = p.rounds_to_tf32;
  const std::vector<float> left = packed<kRows>(p.in, a, p.m, p.k, p.lda, !p.transpose_a, tf32);
  const std::vector<float> right = packed<kColumns>(p.in, b, p.n, p.k, p.ldb, p.transpose_b, tf32);
  for (int64_t j = 0; j < p.n; j += kColumns)
    for (int64_t i = 0; i < p.m; i += kRows)
      multiply_block(p.k, left.data() + i * p.k, right.data() + j * p.k, std::min(kRows, p.m - i),
                     std::min(kColumns, p.n - j), p.m, sums + j * p.m + i);
}

void finish(const Product& p, const float* sums, void* d) {
  for (int64_t j = 0; j < p.n; ++j)
    for (int64_t i = 0; i < p.m; ++i) {
      const int64_t at = j * p.ldd + i;
      float value = p.alpha * sums[j * p.m + i];
      if (p.out == Element::f32) {
        float& target = static_cast<float*>(d)[at];
        target = p.beta == 0 ? value : value + p.beta * target;
      } else {
        auto& target = static_cast<__nv_bfloat16*>(d)[at];
        if (p.beta != 0) value += p.beta * __bfloat162float(target);
        target = __float2bfloat16_rn(value);
      }
    }
}

}  // namespace switchyard::simgpu::blas
