// Activations, gated or not, times a weight per row, and their gradients.          T rows, F width of the output
// A team takes a row, a warp where the row has few packs of 16 bytes, else a block. Backward computes the activation
// again from h; the gradient of the row's weight is the team's sum. Traffic: forward reads h and writes y; backward
// reads dy and h and writes dh.
#include "kernels/activation.h"

#include "kernels/cuda/math.cuh"
#include "kernels/cuda/reduce.cuh"

namespace switchyard::kernels {
namespace cuda {
namespace {

constexpr int64_t kWarpPacks = 256;  // up to so many packs, a row is a warp's

template <int N>
struct Points {
  Values<N> value, slope;
};

// Of the activation at x, or of the gate's of a gated one. What is not used is not computed.
template <int N>
__device__ Points<N> points_at(Activation kind, const Values<N>& x) {
  Points<N> p;
  switch (kind) {
    case Activation::swiglu:
#pragma unroll
      for (int j = 0; j < N; ++j) {
        const float s = sigmoid(x[j]);
        p.value[j] = x[j] * s;
        p.slope[j] = s * (1 + x[j] * (1 - s));
      }
      break;
    case Activation::geglu:
    case Activation::gelu:
#pragma unroll
      for (int j = 0; j < N; ++j) {
        const float below = normcdff(x[j]);
        p.value[j] = x[j] * below;
        p.slope[j] = below + x[j] * expf(-0.5f * x[j] * x[j]) * 0.398942280f;  // 1 / sqrt(2 pi)
      }
      break;
    case Activation::relu:
#pragma unroll
      for (int j = 0; j < N; ++j) {
        p.value[j] = x[j] > 0 ? x[j] : 0.0f;
        p.slope[j] = x[j] > 0 ? 1.0f : 0.0f;
      }
      break;
    case Activation::relu2:
#pragma unroll
      for (int j = 0; j < N; ++j) {
        const float r = x[j] > 0 ? x[j] : 0.0f;
        p.value[j] = r * r;
        p.slope[j] = 2 * r;
      }
      break;
  }
  return p;
}

template <class T, int N, class TeamOf>
__global__ void __launch_bounds__(kBlock, 1) activate(ActivationArgs a, bool gated) {
  for (int64_t t = TeamOf::first_row(); t < a.T; t += TeamOf::row_stride()) {
    const T* gate = static_cast<const T*>(a.h) + t * (gated ? 2 : 1) * a.F;
    T* y = static_cast<T*>(a.y) + t * a.F;
    const float weight = a.row_weight ? static_cast<const float*>(a.row_weight)[t] : 1.0f;
    for (int64_t f = TeamOf::thread() * N; f < a.F; f += TeamOf::kSize * N) {
      Values<N> value = points_at(a.kind, load<N>(gate + f)).value;
      if (gated) {
        const Values<N> up = load<N>(gate + a.F + f);
#pragma unroll
        for (int j = 0; j < N; ++j) value[j] *= up[j];
      }
#pragma unroll
      for (int j = 0; j < N; ++j) value[j] *= weight;
      store(y + f, value);
    }
  }
}

template <class T, int N, class TeamOf>
__global__ void __launch_bounds__(kBlock, 1) activate_backward(ActivationBackwardArgs a, bool gated) {
  for (int64_t t = TeamOf::first_row(); t < a.T; t += TeamOf::row_stride()) {
    const int64_t row = t * (gated ? 2 : 1) * a.F;
    const T *gate = static_cast<const T*>(a.h) + row, *dy = static_cast<const T*>(a.dy) + t * a.F;
    T* dgate = static_cast<T*>(a.dh) + row;
    const float weight = a.row_weight ? static_cast<const float*>(a.row_weight)[t] : 1.0f;
    float sum = 0;
    for (int64_t f = TeamOf::thread() * N; f < a.F; f += TeamOf::kSize * N) {
      Points<N> p = points_at(a.kind, load<N>(gate + f));
      const Values<N> d = load<N>(dy + f);
      if (gated) {
        const Values<N> up = load<N>(gate + a.F + f);
        Values<N> dup;
#pragma unroll
        for (int j = 0; j < N; ++j) {
          dup[j] = weight * d[j] * p.value[j];
          p.value[j] *= up[j];
          p.slope[j] *= up[j];
        }
        if (a.dh) store(dgate + a.F + f, dup);
      }
#pragma unroll
      for (int j = 0; j < N; ++j) {
        sum += d[j] * p.value[j];
        p.slope[j] *= weight * d[j];
      }
      if (a.dh) store(dgate + f, p.slope);
    }
    if (!a.drow_weight) continue;
    sum = TeamOf::sum(sum);
    if (TeamOf::thread() == 0) static_cast<float*>(a.drow_weight)[t] = sum;
  }
}

// body(N, team)
template <class T, class Body>
void on_row(int64_t F, bool wide, Body&& body) {
  on_width<T>(wide, [&](auto n) {
    if (F <= kWarpPacks * n)
      body(n, Team<kWarp>{});
    else
      body(n, Team<kBlock>{});
  });
}

}  // namespace
}  // namespace cuda

using namespace cuda;

void activation(exec::Cuda exec, const ActivationArgs& a) {
  if (a.T == 0 || a.F == 0) return;
  on_cuda_type(a.dtype, "activation", [&](auto value) {
    using T = decltype(value);
    on_row<T>(a.F, is_wide<T>(a.F, a.h, a.y), [&](auto n, auto team) {
      activate<T, n, decltype(team)><<<grid_of_rows(team, a.T), kBlock, 0, exec.stream>>>(a, is_gated(a.kind));
      check_launch("activation");
    });
  });
}

void activation_backward(exec::Cuda exec, const ActivationBackwardArgs& a) {
  if (a.T == 0 || a.F == 0 || (!a.dh && !a.drow_weight)) return;
  on_cuda_type(a.dtype, "activation_backward", [&](auto value) {
    using T = decltype(value);
    on_row<T>(a.F, is_wide<T>(a.F, a.dy, a.h, a.dh), [&](auto n, auto team) {
      activate_backward<T, n, decltype(team)><<<grid_of_rows(team, a.T), kBlock, 0, exec.stream>>>(a, is_gated(a.kind));
      check_launch("activation_backward");
    });
  });
}

}  // namespace switchyard::kernels
