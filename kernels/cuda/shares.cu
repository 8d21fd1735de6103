// A warp handles a row of counts: it adds them, and reads them again to divide. Traffic: counts are read twice, the
// second time from the cache; shares are written once.
#include "kernels/cuda/router_math.cuh"

namespace switchyard::kernels {
namespace cuda {
namespace {

__global__ void __launch_bounds__(kBlock) shares_of_rows(SharesArgs a) {
  const int E = static_cast<int>(a.E);
  for (int64_t g = first_warp_row(); g < a.G; g += warp_row_stride()) {
    const int64_t* counts = a.counts + g * E;
    float* shares = static_cast<float*>(a.shares) + g * E;
    int64_t sum = 0;
    for_own(E, [&](int e) { sum += counts[e]; });
    sum = warp_sum(sum);
    const auto all = static_cast<double>(sum);
    for_own(E, [&](int e) { shares[e] = sum == 0 ? 0.0f : static_cast<float>(static_cast<double>(counts[e]) / all); });
  }
}

}  // namespace
}  // namespace cuda

void shares(exec::Cuda exec, const SharesArgs& a) {
  if (a.dtype != DType::f32) refuse_on_cuda("shares", "they must be f32");
  if (a.G == 0) return;
  cuda::shares_of_rows<<<cuda::grid_of_warp_rows(a.G), cuda::kBlock, 0, exec.stream>>>(a);
  cuda::check_launch("shares");
}

}  // namespace switchyard::kernels
