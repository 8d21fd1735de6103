// Balance loss and z-loss. Forward: a block takes a chunk of consecutive rows, a warp every eighth of them, and adds
// their terms in f64; one block then adds the chunks, all in a fixed order. Backward: a warp handles a row, and keeps
// its exponentials in shared memory. Traffic: logits are read once; backward also writes dlogits.
#include "kernels/cuda/router_math.cuh"

namespace switchyard::kernels {
namespace cuda {
namespace {

constexpr int64_t kLossRows = 64;  // of a chunk
constexpr int64_t loss_chunks(int64_t T) { return (T + kLossRows - 1) / kLossRows; }

// sum_e f_e P_e
struct Balance {
  BalanceLossArgs a;

  __device__ const float* frequencies(int64_t t) const {
    return static_cast<const float*>(a.frequencies) + t / a.rows * a.E;
  }
  // Exponentials, or scores, in place of the logits; returns their sum.
  __device__ float score(float* z, int E) const {
    float sum = 0;
    const float largest = a.score == Score::softmax ? row_max(z, E) : 0.0f;
    for_own(E, [&](int e) { sum += z[e] = a.score == Score::softmax ? expf(z[e] - largest) : sigmoid(z[e]); });
    return fmaxf(warp_sum(sum), kSmallestSum);
  }
  __device__ static float dot(const float* z, const float* f, int E) {
    float sum = 0;
    for_own(E, [&](int e) { sum += f[e] * z[e]; });
    return warp_sum(sum);
  }
  __device__ float term(float* z, int64_t t, int E) const {
    const float sum = score(z, E);
    return dot(z, frequencies(t), E) / sum;
  }
  // softmax: dz_j = c p_j (f_j - sum f p);  sigmoid: dz_j = c s_j (1 - s_j) / (sum s) (f_j - sum f s / sum s)
  __device__ void slopes(float* z, int64_t t, int E, float dloss) const {
    const float* f = frequencies(t);
    const float sum = score(z, E), mean = dot(z, f, E) / sum, factor = static_cast<float>(a.factor) * dloss / sum;
    for_own(E, [&](int e) { z[e] *= (a.score == Score::softmax ? 1.0f : 1.0f - z[e]) * factor * (f[e] - mean); });
  }
};

// (log sum_e exp z_e)^2
struct ZLoss {
  ZLossArgs a;

  __device__ float term(float* z, int64_t, int E) const {
    const float largest = row_max(z, E), sum = largest + logf(row_sum_exp(z, largest, E));
    return sum * sum;
  }
  __device__ void slopes(float* z, int64_t, int E, float dloss) const {
    const float largest = row_max(z, E), sum = row_sum_exp(z, largest, E);
    const float factor = static_cast<float>(2 * a.factor) * dloss * (largest + logf(sum)) / sum;
    for_own(E, [&](int e) { z[e] = expf(z[e] - largest) * factor; });
  }
};

template <class Loss>
__global__ void __launch_bounds__(kBlock) loss_of_chunks(Loss loss, int64_t chunks) {
  extern __shared__ float rows[];
  __shared__ double parts[kRouterWarps];
  const int E = static_cast<int>(loss.a.E);
  float* z = rows + warp_of_block() * E;
  for (int64_t chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
    double sum = 0;
    const int64_t end = min(loss.a.T, (chunk + 1) * kLossRows);
    for (int64_t t = chunk * kLossRows + warp_of_block(); t < end; t += kRouterWarps) {
      copy_row(static_cast<const float*>(loss.a.logits) + t * E, z, E);
      sum += static_cast<double>(loss.term(z, t, E));
    }
    if (lane_of_warp() == 0) parts[warp_of_block()] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
      for (int w = 1; w < kRouterWarps; ++w) sum += parts[w];
      loss.a.scratch[chunk] = sum;
    }
    __syncthreads();  // before parts are written again
  }
}

__global__ void __launch_bounds__(kBlock) add_chunks(const double* chunks, int64_t count, double factor, float* loss) {
  __shared__ double parts[kRouterWarps];
  double sum = 0;
  for (int64_t i = threadIdx.x; i < count; i += kBlock) sum += chunks[i];
  sum = block_sum(sum, parts);
  if (threadIdx.x == 0) *loss = static_cast<float>(factor * sum);
}

template <class Loss>
__global__ void __launch_bounds__(kBlock) loss_backward(Loss loss, const float* dloss, float* dlogits) {
  extern __shared__ float rows[];
  const int E = static_cast<int>(loss.a.E);
  float* z = rows + warp_of_block() * E;
  for (int64_t t = first_warp_row(); t < loss.a.T; t += warp_row_stride()) {
    copy_row(static_cast<const float*>(loss.a.logits) + t * E, z, E);
    loss.slopes(z, t, E, *dloss);
    copy_row(z, dlogits + t * E, E);
  }
}

template <class Loss>
void launch_loss(exec::Cuda exec, const char* name, const Loss& loss) {
  check_router(name, loss.a.dtype, loss.a.E);
  const int64_t chunks = loss_chunks(loss.a.T);
  launch_rows(exec, name, loss_of_chunks<Loss>, chunks * kRouterWarps, loss.a.E, 1, loss, chunks);
  add_chunks<<<1, kBlock, 0, exec.stream>>>(loss.a.scratch, chunks, loss.a.factor, static_cast<float*>(loss.a.loss));
  check_launch(name);
}

template <class Loss>
void launch_backward(exec::Cuda exec, const char* name, const Loss& loss, const void* dloss, void* dlogits) {
  check_router(name, loss.a.dtype, loss.a.E);
  launch_rows(exec, name, loss_backward<Loss>, loss.a.T, loss.a.E, 1, loss, static_cast<const float*>(dloss),
              static_cast<float*>(dlogits));
}

}  // namespace
}  // namespace cuda

int64_t router_loss_scratch_bytes(exec::Cuda, int64_t T) { return cuda::loss_chunks(T) * int64_t{sizeof(double)}; }

void balance_loss(exec::Cuda exec, const BalanceLossArgs& a) {
  cuda::launch_loss(exec, "balance_loss", cuda::Balance{a});
}
void balance_loss_backward(exec::Cuda exec, const BalanceLossArgs& a, const void* dloss, void* dlogits) {
  cuda::launch_backward(exec, "balance_loss_backward", cuda::Balance{a}, dloss, dlogits);
}

void z_loss(exec::Cuda exec, const ZLossArgs& a) { cuda::launch_loss(exec, "z_loss", cuda::ZLoss{a}); }
void z_loss_backward(exec::Cuda exec, const ZLossArgs& a, const void* dloss, void* dlogits) {
  cuda::launch_backward(exec, "z_loss_backward", cuda::ZLoss{a}, dloss, dlogits);
}

}  // namespace switchyard::kernels
