// One thread: the host need not know the norm before AdamW is launched. Reads two numbers and writes one.
#include "kernels/clip.h"

#include "kernels/cuda/launch.cuh"

namespace switchyard::kernels {
namespace cuda {
namespace {

__global__ void clip_factor(ClipArgs a) {
  const double norm = sqrt(a.sums[0]);
  if (!isfinite(norm) || !isfinite(a.sums[1]))
    *a.factor = __longlong_as_double(0x7ff8000000000000ll);
  else
    *a.factor = a.max_norm > 0 ? fmin(1.0, a.max_norm / (norm + 1e-6)) : 1.0;
}

}  // namespace
}  // namespace cuda

void clip(exec::Cuda exec, const ClipArgs& a) {
  cuda::clip_factor<<<1, 1, 0, exec.stream>>>(a);
  cuda::check_launch("clip");
}

}  // namespace switchyard::kernels
