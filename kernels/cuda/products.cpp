// Which way a product takes on CUDA, and what is decided before: types, and products without rows or without terms.
#include "kernels/cuda/products.h"

#include "kernels/cuda/launch.cuh"
#include "switchyard/base/error.h"

namespace switchyard::kernels {
namespace {

template <class Args>
void check_arguments(const char* product, ProductWay way, const Args& a) {
  if (a.dtype != DType::f32 && a.dtype != DType::bf16) refuse_on_cuda(product, "the dtype is neither f32 nor bf16");
  check(a.G == 1 || way != ProductWay::library, "{}: {} groups in one call of the library", product, a.G);
  check(a.G == 1 || a.offsets != nullptr, "{}: {} groups without offsets", product, a.G);
  check(a.host_offsets == nullptr || a.host_offsets[a.G] == a.R, "{}: there are {} rows, and other offsets", product,
        a.R);
}

template <class Args>
ProductWay way_of(const Args& a) {
  return product_way(a.R, a.G, a.N, a.K, a.host_offsets != nullptr);
}

const std::byte* at(const void* base, int64_t elements, DType dtype) {
  return static_cast<const std::byte*>(base) + elements * size_of(dtype);
}
std::byte* at(void* base, int64_t elements, DType dtype) {
  return static_cast<std::byte*>(base) + elements * size_of(dtype);
}

void multiply_rows(exec::Cuda exec, const RowProductArgs& a, int64_t g, int64_t begin, int64_t end) {
  if (begin == end) return;
  const bool is_forward = a.product == RowProduct::forward;
  const int64_t in = is_forward ? a.K : a.N, out = is_forward ? a.N : a.K;
  library::multiply(exec, {.kind = is_forward ? library::Kind::forward : library::Kind::input_gradient,
                           .left = at(a.w, g * a.N * a.K, a.dtype),
                           .right = at(a.rows, begin * in, a.dtype),
                           .out = at(a.out, begin * out, a.out_dtype),
                           .R = end - begin,
                           .N = a.N,
                           .K = a.K,
                           .dtype = a.dtype,
                           .out_dtype = a.out_dtype,
                           .accumulate = false,
                           .workspace = a.scratch});
}

void sum_rows(exec::Cuda exec, const WeightGradientArgs& a, int64_t g, int64_t begin, int64_t end) {
  std::byte* dw = at(a.dw, g * a.N * a.K, DType::f32);
  if (begin == end) {
    if (!a.accumulate) cuda::set_zero(exec, dw, a.N * a.K * size_of(DType::f32), "weight_gradient: zeros");
    return;
  }
  library::multiply(exec, {.kind = library::Kind::weight_gradient,
                           .left = at(a.x, begin * a.K, a.dtype),
                           .right = at(a.dy, begin * a.N, a.dtype),
                           .out = dw,
                           .R = end - begin,
                           .N = a.N,
                           .K = a.K,
                           .dtype = a.dtype,
                           .out_dtype = DType::f32,
                           .accumulate = a.accumulate,
                           .workspace = a.scratch});
}

}  // namespace

int64_t packed_bytes(exec::Cuda, const PackArgs&) { return 0; }
bool packing_pays(exec::Cuda, const PackArgs&, int64_t) { return false; }
void pack_weights(exec::Cuda, const PackArgs&) { fail(ExitCode::internal, "products: CUDA has no packed weights"); }

std::string_view name_of(ProductWay way) {
  switch (way) {
    case ProductWay::library: return "cuBLASLt";
    case ProductWay::library_by_group: return "cuBLASLt by group";
    case ProductWay::grouped_kernel: return "grouped kernel";
  }
  return "?";
}

ProductWay product_way(int64_t R, int64_t G, int64_t N, int64_t K, bool host_knows_offsets) {
  if (G == 1) return ProductWay::library;
  constexpr int64_t kEnoughWork = 1 << 24;  // multiply-adds that take as long as the host needs for a call
  return host_knows_offsets && R * N * K >= G * kEnoughWork ? ProductWay::library_by_group : ProductWay::grouped_kernel;
}

int64_t workspace_bytes(ProductWay way) { return way == ProductWay::grouped_kernel ? 0 : library::kWorkspaceBytes; }

int64_t row_product_scratch_bytes(exec::Cuda, const RowProductArgs& a) { return workspace_bytes(way_of(a)); }
void row_product(exec::Cuda exec, const RowProductArgs& a) { row_product(exec, way_of(a), a); }

void row_product(exec::Cuda exec, ProductWay way, const RowProductArgs& a) {
  check_arguments("row_product", way, a);
  // One group alone may have f32 results of bf16 operands: the router's and the head's logits.
  check(a.out_dtype == a.dtype || (way == ProductWay::library && a.out_dtype == DType::f32),
        "row_product by {}: {} results from {} operands", name_of(way), name_of(a.out_dtype), name_of(a.dtype));
  check(!a.is_packed, "row_product: CUDA has no packed weights");
  if (a.R * a.N * a.K == 0) {
    const int64_t out = a.product == RowProduct::forward ? a.N : a.K;
    cuda::set_zero(exec, a.out, a.R * out * size_of(a.out_dtype), "row_product: zeros");
    return;
  }
  switch (way) {
    case ProductWay::library: multiply_rows(exec, a, 0, 0, a.R); break;
    case ProductWay::library_by_group:
      for (int64_t g = 0; g < a.G; ++g) multiply_rows(exec, a, g, a.host_offsets[g], a.host_offsets[g + 1]);
      break;
    case ProductWay::grouped_kernel: grouped::row_product(exec, a); break;
  }
}

int64_t weight_gradient_scratch_bytes(exec::Cuda, const WeightGradientArgs& a) { return workspace_bytes(way_of(a)); }
void weight_gradient(exec::Cuda exec, const WeightGradientArgs& a) { weight_gradient(exec, way_of(a), a); }

void weight_gradient(exec::Cuda exec, ProductWay way, const WeightGradientArgs& a) {
  check_arguments("weight_gradient", way, a);
  if (a.R * a.N * a.K == 0) {
    if (!a.accumulate) cuda::set_zero(exec, a.dw, a.G * a.N * a.K * size_of(DType::f32), "weight_gradient: zeros");
    return;
  }
  switch (way) {
    case ProductWay::library: sum_rows(exec, a, 0, 0, a.R); break;
    case ProductWay::library_by_group:
      for (int64_t g = 0; g < a.G; ++g) sum_rows(exec, a, g, a.host_offsets[g], a.host_offsets[g + 1]);
      break;
    case ProductWay::grouped_kernel: grouped::weight_gradient(exec, a); break;
  }
}

}  // namespace switchyard::kernels
