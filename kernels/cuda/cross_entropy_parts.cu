// A thread combines the parts of a row, in order. Traffic: 24 bytes of each part are read twice, the second time from
// the cache, and 24 are written for each row.
#include "kernels/cross_entropy.h"

#include "kernels/cuda/launch.cuh"

namespace switchyard::kernels {
namespace cuda {
namespace {

__global__ void __launch_bounds__(kBlock) combine_rows_of_parts(CombineStatisticsArgs a) {
  for (int64_t r = int64_t{blockIdx.x} * kBlock + threadIdx.x; r < a.R; r += int64_t{gridDim.x} * kBlock) {
    double largest = -__builtin_huge_val(), sum = 0, target = 0;
    for (int64_t p = 0; p < a.P; ++p) {
      const double of_part = a.parts[(p * a.R + r) * 3];
      largest = of_part > largest ? of_part : largest;  // a NaN is passed over, and shows in the sum
    }
    for (int64_t p = 0; p < a.P; ++p) {
      const double* part = a.parts + (p * a.R + r) * 3;
      if (part[1] != 0) sum += part[1] * exp(part[0] - largest);
      target += part[2];
    }
    double* row = a.statistics + r * 3;
    row[0] = largest, row[1] = sum, row[2] = target;
  }
}

}  // namespace
}  // namespace cuda

void combine_statistics(exec::Cuda exec, const CombineStatisticsArgs& a) {
  if (a.R == 0) return;
  cuda::combine_rows_of_parts<<<cuda::grid_of(cuda::ceil_div(a.R, cuda::kBlock)), cuda::kBlock, 0, exec.stream>>>(a);
  cuda::check_launch("combine_statistics");
}

}  // namespace switchyard::kernels
