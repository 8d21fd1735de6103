// Which way a product takes: the library for f32 and bf16, plain loops for f64 and under the thread sanitizer.
#include "kernels/products.h"

#include "kernels/cpu/products_library.h"
#include "kernels/cpu/products_plain.h"
#include "kernels/cpu/products_rows.h"
#include "switchyard/base/error.h"

#include <cstring>

namespace switchyard::kernels {
namespace {

thread_local bool pretends_no_bf16 = false;

#ifdef SWITCHYARD_TSAN
bool is_plain(DType) { return true; }
#else
bool is_plain(DType dtype) { return dtype == DType::f64; }
#endif

int64_t plain_bytes(const PackArgs& a) { return a.G * a.N * a.K * size_of(a.dtype); }

void check_rows(const int64_t* offsets, int64_t G, int64_t R) {
  check(offsets[G] == R, "product: offsets end at {}, there are {} rows", offsets[G], R);
}

bool is_empty(int64_t G, int64_t N, int64_t K) { return G == 0 || N == 0 || K == 0; }

}  // namespace

bool has_bf16_products() { return !pretends_no_bf16 && library::has_bf16_instructions(); }
void pretend_no_bf16_products(bool pretend) { pretends_no_bf16 = pretend; }
bool products_have_same_bits_anywhere() { return is_plain(DType::f32) || library::has_same_bits_anywhere(); }
int64_t kernels_compiled() { return library::num_compiled(); }

int64_t packed_bytes(exec::Cpu, const PackArgs& a) {
  if (is_plain(a.dtype) || is_empty(a.G, a.N, a.K)) return plain_bytes(a);
  return a.G * library::packed_group_bytes(a);
}

void pack_weights(exec::Cpu, const PackArgs& a) {
  if (is_empty(a.G, a.N, a.K)) return;
  if (is_plain(a.dtype))
    std::memcpy(a.packed, a.w, static_cast<size_t>(plain_bytes(a)));
  else
    library::pack_weights(a);
}

bool packing_pays(exec::Cpu, const PackArgs& a, int64_t rows) {
  if (is_plain(a.dtype) || is_empty(a.G, a.N, a.K)) return false;
  if (a.dtype == DType::bf16 && !has_bf16_products()) return true;
  // Plain weights cost much on tiles, and with the library's older kernels where these walk down their columns.
  const bool has_tiles = a.dtype == DType::bf16 && library::has_bf16_tiles();
  const bool walks_down = a.product == RowProduct::input_gradient && !library::has_same_bits_anywhere();
  constexpr int64_t kEnoughRows = 1536, kEnoughRowsOfCostly = 128;
  return rows >= a.G * (has_tiles || walks_down ? kEnoughRowsOfCostly : kEnoughRows);
}

int64_t row_product_scratch_bytes(exec::Cpu, const RowProductArgs& a) {
  if (is_plain(a.dtype) || is_empty(a.G, a.N, a.K)) return 0;
  return library::row_product_scratch_bytes(a);
}

void row_product(exec::Cpu, const RowProductArgs& a) {
  check(a.out_dtype == a.dtype || a.out_dtype == accumulate_type(a.dtype), "product: {} results from {} operands",
        name_of(a.out_dtype), name_of(a.dtype));
  check_rows(a.offsets, a.G, a.R);
  if (is_plain(a.dtype) || is_empty(a.G, a.N, a.K))
    plain::row_product(a);
  else
    library::row_product(a);
}

int64_t weight_gradient_scratch_bytes(exec::Cpu, const WeightGradientArgs& a) {
  if (is_plain(a.dtype) || is_empty(a.G, a.N, a.K)) return 0;
  return library::weight_gradient_scratch_bytes(a);
}

void weight_gradient(exec::Cpu, const WeightGradientArgs& a) {
  check_rows(a.offsets, a.G, a.R);
  if (is_plain(a.dtype) || is_empty(a.G, a.N, a.K))
    plain::weight_gradient(a);
  else
    library::weight_gradient(a);
}

}  // namespace switchyard::kernels
