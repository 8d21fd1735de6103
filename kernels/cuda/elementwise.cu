// Element by element (map.cuh), and element by row, where a team takes a row. Traffic: the operands are read and the
// result is written once.
#include "kernels/elementwise.h"

#include "kernels/cuda/map.cuh"
#include "kernels/cuda/math.cuh"
#include "kernels/cuda/reduce.cuh"

namespace switchyard::kernels {
namespace cuda {
namespace {

struct Add {
  __device__ float operator()(float a, float b) const { return a + b; }
};
struct Scale {
  float factor;
  __device__ float operator()(float x) const { return factor * x; }
};
struct AddScaled {
  float factor;
  __device__ float operator()(float x, float y) const { return y + factor * x; }
};
struct Clamp {
  float limit;
  __device__ float operator()(float x) const { return x > limit ? limit : x < -limit ? -limit : x; }
};
struct ClampBackward {
  float limit;
  __device__ float operator()(float dy, float x) const { return x > limit || x < -limit ? 0.0f : dy; }
};

template <class T, int N, class TeamOf>
__global__ void __launch_bounds__(kBlock) gate_rows(SigmoidGateArgs a) {
  const int D = static_cast<int>(a.D);
  for (int64_t t = TeamOf::first_row(); t < a.T; t += TeamOf::row_stride()) {
    const float s = sigmoid(static_cast<const float*>(a.gate)[t]);
    for (int d = TeamOf::thread() * N; d < D; d += TeamOf::kSize * N) {
      Values<N> x = load<N>(static_cast<const T*>(a.x) + t * D + d);
#pragma unroll
      for (int j = 0; j < N; ++j) x[j] *= s;
      store(static_cast<T*>(a.y) + t * D + d, x);
    }
  }
}

template <class T, int N, class TeamOf>
__global__ void __launch_bounds__(kBlock) gate_rows_backward(SigmoidGateBackwardArgs a) {
  const int D = static_cast<int>(a.D);
  for (int64_t t = TeamOf::first_row(); t < a.T; t += TeamOf::row_stride()) {
    const float s = sigmoid(static_cast<const float*>(a.gate)[t]);
    float sum = 0;
    for (int d = TeamOf::thread() * N; d < D; d += TeamOf::kSize * N) {
      Values<N> dy = load<N>(static_cast<const T*>(a.dy) + t * D + d);
      if (a.dgate) {
        const Values<N> x = load<N>(static_cast<const T*>(a.x) + t * D + d);
#pragma unroll
        for (int j = 0; j < N; ++j) sum += dy[j] * x[j];
      }
      if (a.dx) {
#pragma unroll
        for (int j = 0; j < N; ++j) dy[j] *= s;
        store(static_cast<T*>(a.dx) + t * D + d, dy);
      }
    }
    if (!a.dgate) continue;
    sum = TeamOf::sum(sum);
    if (TeamOf::thread() == 0) static_cast<float*>(a.dgate)[t] = sum * s * (1 - s);
  }
}

}  // namespace
}  // namespace cuda

using namespace cuda;

void add(exec::Cuda exec, const AddArgs& a) {
  on_cuda_type(a.dtype, "add", [&](auto t) { launch_map<decltype(t)>(exec, "add", Add{}, a.count, a.y, a.a, a.b); });
}

void add_scaled(exec::Cuda exec, const AddScaledArgs& a) {
  const auto factor = static_cast<float>(a.factor);
  on_cuda_type(a.dtype, "add_scaled", [&](auto t) {
    if (a.accumulate)
      launch_map<decltype(t)>(exec, "add_scaled", AddScaled{factor}, a.count, a.y, a.x, static_cast<const void*>(a.y));
    else
      launch_map<decltype(t)>(exec, "add_scaled", Scale{factor}, a.count, a.y, a.x);
  });
}

void clamp(exec::Cuda exec, const ClampArgs& a) {
  on_cuda_type(a.dtype, "clamp", [&](auto t) {
    launch_map<decltype(t)>(exec, "clamp", Clamp{static_cast<float>(a.limit)}, a.count, a.y, a.x);
  });
}

void clamp_backward(exec::Cuda exec, const ClampBackwardArgs& a) {
  on_cuda_type(a.dtype, "clamp_backward", [&](auto t) {
    launch_map<decltype(t)>(exec, "clamp_backward", ClampBackward{static_cast<float>(a.limit)}, a.count, a.dx, a.dy,
                            a.x);
  });
}

void sigmoid_gate(exec::Cuda exec, const SigmoidGateArgs& a) {
  if (a.T == 0 || a.D == 0) return;
  on_cuda_type(a.dtype, "sigmoid_gate", [&](auto value) {
    using T = decltype(value);
    on_rows<T>(a.D, is_wide<T>(a.D, a.x, a.y), [&](auto n, auto team) {
      gate_rows<T, n, decltype(team)><<<grid_of_rows(team, a.T), kBlock, 0, exec.stream>>>(a);
      check_launch("sigmoid_gate");
    });
  });
}

void sigmoid_gate_backward(exec::Cuda exec, const SigmoidGateBackwardArgs& a) {
  if (a.T == 0 || a.D == 0) return;
  on_cuda_type(a.dtype, "sigmoid_gate_backward", [&](auto value) {
    using T = decltype(value);
    on_rows<T>(a.D, is_wide<T>(a.D, a.dy, a.x, a.dx), [&](auto n, auto team) {
      gate_rows_backward<T, n, decltype(team)><<<grid_of_rows(team, a.T), kBlock, 0, exec.stream>>>(a);
      check_launch("sigmoid_gate_backward");
    });
  });
}

}  // namespace switchyard::kernels
