// Row weights of the chosen experts and their gradient; the four rules stand in kernels/cpu/router_weights.cpp. A warp
// handles a token. Traffic: logits are read once, weights or dlogits written.
#include "kernels/cuda/router_math.cuh"

namespace switchyard::kernels {
namespace cuda {
namespace {

__global__ void __launch_bounds__(kBlock) weights(RouterWeightsArgs a) {
  extern __shared__ float rows[];
  const int E = static_cast<int>(a.E), K = static_cast<int>(a.K);
  const float scale = static_cast<float>(a.scale);
  float* z = rows + warp_of_block() * E;
  for (int64_t t = first_warp_row(); t < a.T; t += warp_row_stride()) {
    const int32_t* ids = a.ids + t * K;
    float* w = static_cast<float*>(a.weights) + t * K;
    copy_row(static_cast<const float*>(a.logits) + t * E, z, E);
    const bool is_finite = is_finite_row(z, E);
    __syncwarp();  // chosen logits are other lanes'
    float largest = -kInfinity, sum = 0;
    const auto score = [&](int e) { return a.score == Score::softmax ? expf(z[e] - largest) : sigmoid(z[e]); };
    if (a.score == Score::softmax && !a.normalize) {
      largest = row_max(z, E);
      sum = row_sum_exp(z, largest, E);
    } else {
      for_own(K, [&](int i) { largest = fmaxf(largest, z[ids[i]]); });
      largest = warp_max(largest);
      for_own(K, [&](int i) { sum += score(ids[i]); });
      sum = a.normalize ? fmaxf(warp_sum(sum), kSmallestSum) : 1.0f;
    }
    // Also where no chosen logit is bad: the step must fail.
    for_own(K, [&](int i) { w[i] = is_finite ? score(ids[i]) / sum * scale : nanf(""); });
    __syncwarp();  // before the next row
  }
}

__global__ void __launch_bounds__(kBlock, 1) weights_backward(RouterWeightsBackwardArgs b) {
  extern __shared__ float rows[];
  const RouterWeightsArgs& a = b.forward;
  const int E = static_cast<int>(a.E), K = static_cast<int>(a.K);
  const float scale = static_cast<float>(a.scale);
  float *z = rows + warp_of_block() * 2 * E, *dz = z + E;
  for (int64_t t = first_warp_row(); t < a.T; t += warp_row_stride()) {
    const int32_t* ids = a.ids + t * K;
    const float* w = static_cast<const float*>(a.weights) + t * K;
    const float* u = static_cast<const float*>(b.dweights) + t * K;
    copy_row(static_cast<const float*>(a.logits) + t * E, z, E);
    float dot = 0;  // sum_i u_i g_i, or with p. Divided: of a single choice g is exactly 1, and its gradient exactly 0
    if (scale != 0) for_own(K, [&](int i) { dot += u[i] * (w[i] / scale); });
    dot = warp_sum(dot);
    const bool is_whole = a.score == Score::softmax && !a.normalize;  // every expert has a gradient
    if (is_whole) {
      const float largest = row_max(z, E), factor = -scale * dot / row_sum_exp(z, largest, E);
      for_own(E, [&](int e) { dz[e] = expf(z[e] - largest) * factor; });
    } else {
      for_own(E, [&](int e) { dz[e] = 0; });
    }
    __syncwarp();  // chosen experts are other lanes'
    if (!a.normalize) dot = 0;
    for_own(K, [&](int i) {
      const float slope = a.score == Score::softmax ? 1.0f : sigmoid(-z[ids[i]]);
      if (is_whole)
        dz[ids[i]] += w[i] * u[i];
      else
        dz[ids[i]] = slope * w[i] * (u[i] - dot);
    });
    __syncwarp();  // also before the next row: from here on a lane meets its own elements alone
    copy_row(dz, static_cast<float*>(b.dlogits) + t * E, E);
  }
}

}  // namespace
}  // namespace cuda

void router_weights(exec::Cuda exec, const RouterWeightsArgs& a) {
  cuda::check_router("router_weights", a.dtype, a.E);
  cuda::launch_rows(exec, "router_weights", cuda::weights, a.T, a.E, 1, a);
}

void router_weights_backward(exec::Cuda exec, const RouterWeightsBackwardArgs& b) {
  cuda::check_router("router_weights_backward", b.forward.dtype, b.forward.E);
  cuda::launch_rows(exec, "router_weights_backward", cuda::weights_backward, b.forward.T, b.forward.E, 2, b);
}

}  // namespace switchyard::kernels
