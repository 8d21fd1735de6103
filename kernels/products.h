// Matrix products of a linear layer y = x w^T and of its two gradients. Rows are grouped by expert: the rows of group g
// are offsets[g] <= r < offsets[g + 1] and meet w[g]; a dense layer is one group. Sums are kept in f32 (f64 for f64).
//   forward          y[r, n]     = sum_k x[r, k] w[g][n, k]        R rows, G groups, N outputs, K inputs
//   input gradient   dx[r, k]    = sum_n dy[r, n] w[g][n, k]
//   weight gradient  dw[g][n, k] = sum_r dy[r, n] x[r, k]          over the rows of g
#pragma once

#include "switchyard/base/dtype.h"
#include "switchyard/base/exec.h"

#include <cstdint>

namespace switchyard::kernels {

enum class RowProduct : uint8_t { forward, input_gradient };

// Weights in the layout that one of the row products reads fastest.
struct PackArgs {
  RowProduct product;
  const void* w;  // (G, N, K) dtype
  void* packed;   // packed_bytes(), 64-byte aligned
  int64_t G, N, K;
  DType dtype;
};
int64_t packed_bytes(exec::Cpu, const PackArgs&);  // needs no pointers
int64_t packed_bytes(exec::Cuda, const PackArgs&);
void pack_weights(exec::Cpu, const PackArgs&);
void pack_weights(exec::Cuda, const PackArgs&);
bool packing_pays(exec::Cpu, const PackArgs&, int64_t rows);  // for a product of so many rows over all groups
bool packing_pays(exec::Cuda, const PackArgs&, int64_t rows);

struct RowProductArgs {
  RowProduct product;
  const void* rows;             // x (R, K), or dy (R, N) for the input gradient; dtype
  const void* w;                // packed for this product, or plain (G, N, K); dtype
  void* out;                    // y (R, N), or dx (R, K); out_dtype
  const int64_t* offsets;       // (G + 1) where the kernel runs, ascending, R the last; unread on CUDA where G is 1
  const int64_t* host_offsets;  // the same in host memory; null: only the device knows them. Unread on the CPU
  int64_t R, G, N, K;
  DType dtype;
  DType out_dtype;  // dtype, or f32 where dtype is bf16 (on CUDA: and G is 1)
  bool is_packed;
  void* scratch;  // row_product_scratch_bytes(), 64-byte aligned
};
int64_t row_product_scratch_bytes(exec::Cpu, const RowProductArgs&);  // needs no pointers but offsets
int64_t row_product_scratch_bytes(exec::Cuda, const RowProductArgs&);
void row_product(exec::Cpu, const RowProductArgs&);
void row_product(exec::Cuda, const RowProductArgs&);

struct WeightGradientArgs {
  const void* dy;               // (R, N) dtype
  const void* x;                // (R, K) dtype
  void* dw;                     // (G, N, K) f32, f64 for f64
  const int64_t* offsets;       // as of RowProductArgs
  const int64_t* host_offsets;  // likewise
  int64_t R, G, N, K;
  DType dtype;
  bool accumulate;  // add to dw; otherwise assign, zeros for a group without rows
  void* scratch;    // weight_gradient_scratch_bytes(), 64-byte aligned
};
int64_t weight_gradient_scratch_bytes(exec::Cpu, const WeightGradientArgs&);  // needs no pointers but offsets
int64_t weight_gradient_scratch_bytes(exec::Cuda, const WeightGradientArgs&);
void weight_gradient(exec::Cpu, const WeightGradientArgs&);
void weight_gradient(exec::Cuda, const WeightGradientArgs&);

// Kernels compiled by the calling thread so far: constant once every shape has been met.
int64_t kernels_compiled();

// Whether bf16 products run on bf16 instructions; otherwise operands are converted to f32 on the way in. The processor
// decides; a test may pretend it has none (for the calling thread; packed weights made before are then of no use).
bool has_bf16_products();
void pretend_no_bf16_products(bool pretend);

// Whether a row's results have the same bits whatever rows stand beside it and on any number of threads: the library's
// kernels for processors without AVX-512 add up in an order that depends on the row count.
bool products_have_same_bits_anywhere();

}  // namespace switchyard::kernels
