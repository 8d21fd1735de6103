// Element by element, and element by row. Rows are contiguous.     T rows, D columns
#pragma once

#include "switchyard/base/dtype.h"
#include "switchyard/base/exec.h"

#include <cstdint>

namespace switchyard::kernels {

struct AddArgs {
  const void *a, *b;  // (count)  dtype
  void* y;            // a + b
  int64_t count;
  DType dtype;
};
void add(exec::Cpu, const AddArgs&);
void add(exec::Cuda, const AddArgs&);

struct AddScaledArgs {
  const void* x;  // (count)  dtype
  void* y;        // factor * x, or y + factor * x
  int64_t count;
  double factor;
  bool accumulate;  // add to y instead of assigning
  DType dtype;
};
void add_scaled(exec::Cpu, const AddScaledArgs&);
void add_scaled(exec::Cuda, const AddScaledArgs&);

struct ClampArgs {
  const void* x;  // (count)  dtype
  void* y;        // min(max(x, -limit), limit)
  int64_t count;
  double limit;
  DType dtype;
};
void clamp(exec::Cpu, const ClampArgs&);
void clamp(exec::Cuda, const ClampArgs&);

struct ClampBackwardArgs {
  const void *dy, *x;  // (count)  dtype
  void* dx;            // dy where |x| <= limit, else 0
  int64_t count;
  double limit;
  DType dtype;
};
void clamp_backward(exec::Cpu, const ClampBackwardArgs&);
void clamp_backward(exec::Cuda, const ClampBackwardArgs&);

struct SigmoidGateArgs {
  const void* x;     // (T, D)  dtype
  const void* gate;  // (T)     f32, or f64 when dtype is f64
  void* y;           // (T, D)  x[t] * sigmoid(gate[t])
  int64_t T, D;
  DType dtype;
};
void sigmoid_gate(exec::Cpu, const SigmoidGateArgs&);
void sigmoid_gate(exec::Cuda, const SigmoidGateArgs&);

struct SigmoidGateBackwardArgs {
  const void *dy, *x;  // (T, D)  dtype
  const void* gate;    // (T)     as forward
  void* dx;            // (T, D)  dtype; null: not wanted
  void* dgate;         // (T)     as gate; null: not wanted
  int64_t T, D;
  DType dtype;
};
void sigmoid_gate_backward(exec::Cpu, const SigmoidGateBackwardArgs&);
void sigmoid_gate_backward(exec::Cuda, const SigmoidGateBackwardArgs&);

}  // namespace switchyard::kernels
