// How the products of kernels/products.h run on CUDA: by cuBLASLt, or by a kernel that reads the offsets on the device.
#pragma once

#include "kernels/products.h"

#include <string>
#include <string_view>

namespace switchyard::kernels {

enum class ProductWay : uint8_t {
  library,           // one group: one call of cuBLASLt
  library_by_group,  // a call for each group that has rows
  grouped_kernel     // kernels/cuda/products_grouped.cu
};
std::string_view name_of(ProductWay way);

// A call by group costs the host some microseconds, so it needs work enough.
ProductWay product_way(int64_t R, int64_t G, int64_t N, int64_t K, bool host_knows_offsets);

// Any of the ways that the arguments allow; kernels/products.h takes the one that product_way names.
void row_product(exec::Cuda, ProductWay, const RowProductArgs&);
void weight_gradient(exec::Cuda, ProductWay, const WeightGradientArgs&);
int64_t workspace_bytes(ProductWay);  // scratch of either

// Creates what products of the calling thread need beside their arguments; otherwise the first one does.
void prepare_products(exec::Cuda);
// The algorithms of cuBLASLt that the calling thread has chosen so far, one a line.
std::string chosen_algorithms();

namespace grouped {
void row_product(exec::Cuda, const RowProductArgs&);
void weight_gradient(exec::Cuda, const WeightGradientArgs&);
}  // namespace grouped

namespace library {

constexpr int64_t kWorkspaceBytes = 32 << 20;  // on 256 bytes; what NVIDIA advises for its later devices

enum class Kind : uint8_t { forward, input_gradient, weight_gradient };

// One product of dense row-major matrices; none of R, N and K is 0.
//   kind             left         right        out
//   forward          w (N, K)     x (R, K)     y (R, N)
//   input gradient   w (N, K)     dy (R, N)    dx (R, K)
//   weight gradient  x (R, K)     dy (R, N)    dw (N, K)
struct Product {
  Kind kind;
  const void *left, *right;
  void* out;
  int64_t R, N, K;
  DType dtype, out_dtype;
  bool accumulate;  // add to out
  void* workspace;
};
void multiply(exec::Cuda, const Product&);

}  // namespace library
}  // namespace switchyard::kernels
