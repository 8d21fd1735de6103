// Activations of feed-forward layers, gated or not, fused with a weight per row.     T rows, F width of the output
//   gated:  y[t] = r[t] * act(gate[t]) * up[t],  h[t] = gate[t] | up[t]              swiglu, geglu
//   plain:  y[t] = r[t] * act(h[t])                                                  gelu, relu, relu2
#pragma once

#include "switchyard/base/dtype.h"
#include "switchyard/base/exec.h"

#include <array>
#include <cstdint>
#include <string_view>

namespace switchyard::kernels {

enum class Activation : uint8_t {
  swiglu,  // silu(gate) * up
  geglu,   // gelu(gate) * up
  gelu,    // x * P(N(0, 1) < x), exact (not the tanh form)
  relu,
  relu2,  // relu(x)^2
};
constexpr std::array<std::string_view, 5> names_of(Activation) { return {"swiglu", "geglu", "gelu", "relu", "relu2"}; }
constexpr bool is_gated(Activation a) { return a == Activation::swiglu || a == Activation::geglu; }

struct ActivationArgs {
  const void* h;           // (T, 2F) gate | up, or (T, F); dtype
  const void* row_weight;  // (T) f32, or f64 when dtype is f64; null: ones
  void* y;                 // (T, F)  dtype
  int64_t T, F;
  Activation kind;
  DType dtype;
};
void activation(exec::Cpu, const ActivationArgs&);
void activation(exec::Cuda, const ActivationArgs&);

struct ActivationBackwardArgs {
  const void* dy;          // (T, F)
  const void* h;           // as forward
  const void* row_weight;  // as forward
  void* dh;                // shape of h; null: not wanted
  void* drow_weight;       // (T) as row_weight; null: not wanted
  int64_t T, F;
  Activation kind;
  DType dtype;
};
void activation_backward(exec::Cpu, const ActivationBackwardArgs&);
void activation_backward(exec::Cuda, const ActivationBackwardArgs&);

}  // namespace switchyard::kernels
