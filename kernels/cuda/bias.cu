// A bias per column, and its gradient.                                                     R rows, N columns
// Adding: a thread keeps a pack of the bias and adds it to 16 rows; neighbouring threads have neighbouring packs. The
// gradient is column_sums over the rows in chunks, then over the chunks. Traffic: adding reads and writes y, and b once
// for 16 rows; the gradient reads dy.
#include "kernels/bias.h"

#include "kernels/cuda/column_sums.cuh"

namespace switchyard::kernels {
namespace cuda {
namespace {

constexpr int64_t kBiasRows = 16;

template <class T, int N>
__global__ void __launch_bounds__(kBlock) add_bias_rows(AddBiasArgs a) {
  const int64_t packs = a.N / N, items = packs * ((a.R + kBiasRows - 1) / kBiasRows);
  for (int64_t i = int64_t{blockIdx.x} * kBlock + threadIdx.x; i < items; i += int64_t{gridDim.x} * kBlock) {
    const int64_t chunk = i / packs, column = (i - chunk * packs) * N;
    const Values<N> b = load<N>(static_cast<const T*>(a.b) + column);
    const int64_t end = min(a.R, (chunk + 1) * kBiasRows);
#pragma unroll 4
    for (int64_t r = chunk * kBiasRows; r < end; ++r) {
      T* y = static_cast<T*>(a.y) + r * a.N + column;
      Values<N> v = load<N>(y);
#pragma unroll
      for (int j = 0; j < N; ++j) v[j] += b[j];
      store(y, v);
    }
  }
}

}  // namespace
}  // namespace cuda

using namespace cuda;

void add_bias(exec::Cuda exec, const AddBiasArgs& a) {
  if (a.R == 0 || a.N == 0) return;
  on_cuda_type(a.dtype, "add_bias", [&](auto value) {
    using T = decltype(value);
    on_width<T>(is_wide<T>(a.N, a.y, a.b), [&](auto n) {
      const int64_t items = a.N / n * ceil_div(a.R, kBiasRows);
      add_bias_rows<T, n><<<grid_of(ceil_div(items, kBlock)), kBlock, 0, exec.stream>>>(a);
      check_launch("add_bias");
    });
  });
}

int64_t bias_gradient_scratch_bytes(exec::Cuda, const BiasGradientArgs& a) {
  return sum_chunks(a.R) * a.N * int64_t{sizeof(float)};
}

void bias_gradient(exec::Cuda exec, const BiasGradientArgs& a) {
  if (a.N == 0 || (a.R == 0 && a.accumulate)) return;
  const int64_t chunks = sum_chunks(a.R);
  auto *db = static_cast<float*>(a.db), *parts = static_cast<float*>(a.scratch);
  on_cuda_type(a.dtype, "bias_gradient", [&](auto value) {
    const auto* dy = static_cast<const decltype(value)*>(a.dy);
    if (chunks == 1) return launch_column_sums(exec.stream, dy, db, a.R, a.N, 1, a.accumulate);
    launch_column_sums(exec.stream, dy, parts, a.R, a.N, chunks, false);
    launch_column_sums<float>(exec.stream, parts, db, chunks, a.N, 1, a.accumulate);
  });
}

}  // namespace switchyard::kernels
