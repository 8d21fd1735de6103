// Elementary functions of the kernels, to 3 ulp: exact limits at 0 and +-inf, NaN in gives NaN out.
#pragma once

namespace switchyard::kernels::cuda {

// 1 / (1 + exp(-x)), from the exponential that does not overflow.
__device__ inline float sigmoid(float x) {
  const float e = expf(-fabsf(x));
  return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

}  // namespace switchyard::kernels::cuda
