// y[t] = x[t] * sigmoid(gate[t])       T tokens, D width
#include "kernels/elementwise.h"
#include "switchyard/autograd/apply.h"
#include "switchyard/ops/elementwise.h"
#include "switchyard/tensor/kernel_args.h"

namespace switchyard::ops {
namespace {

struct SigmoidGate {
  Saved x_TD{}, gate_T1{};  // the gate in f32 (f64)
  DType gate_dtype{};

  Tensor forward(const Tensor& x, const Tensor& gate);
  Grads backward(const Tensor& dy) const;
};

Tensor SigmoidGate::forward(const Tensor& x, const Tensor& gate) {
  check(gate.numel() == x.rows(), "sigmoid_gate: gate {} for {}", shape_text(gate.shape()), shape_text(x.shape()));
  x_TD = x.contiguous();
  gate_T1 = gate.contiguous().to(accumulate_type(x.dtype()));
  gate_dtype = gate.dtype();
  Tensor y_TD = Tensor::empty(x.shape(), x.dtype());
  on_device(x, [&](auto exec) {
    kernels::sigmoid_gate(exec, {.x = x_TD.raw(),
                                 .gate = gate_T1.raw(),
                                 .y = y_TD.raw(),
                                 .T = gate_T1.numel(),
                                 .D = x.dim(-1),
                                 .dtype = x.dtype()});
  });
  return y_TD;
}

Grads SigmoidGate::backward(const Tensor& dy) const {
  const Tensor dy_TD = dy.contiguous();
  Tensor dx_TD, dgate_T1;
  if (autograd::input_needs_grad(0)) dx_TD = Tensor::empty(x_TD.shape(), x_TD.dtype());
  if (autograd::input_needs_grad(1)) dgate_T1 = Tensor::zeros(gate_T1.shape(), gate_T1.dtype());
  on_device(x_TD, [&](auto exec) {
    kernels::sigmoid_gate_backward(exec, {.dy = dy_TD.raw(),
                                          .x = x_TD.raw(),
                                          .gate = gate_T1.raw(),
                                          .dx = raw_or_null(dx_TD),
                                          .dgate = raw_or_null(dgate_T1),
                                          .T = gate_T1.numel(),
                                          .D = x_TD.dim(-1),
                                          .dtype = x_TD.dtype()});
  });
  return {dx_TD, dgate_T1.defined() ? dgate_T1.to(gate_dtype) : dgate_T1};
}

}  // namespace

Tensor sigmoid_gate(const Tensor& x_TD, const Tensor& gate_T1) { return apply(SigmoidGate{}, x_TD, gate_T1); }

}  // namespace switchyard::ops
