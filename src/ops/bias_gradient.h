// Sum of a gradient over rows, into the slot of a parameter.
#pragma once

#include "kernels/bias.h"
#include "switchyard/autograd/graph.h"
#include "switchyard/tensor/kernel_args.h"

namespace switchyard::ops {

// dy (R, N) contiguous, in the dtype of the parameter or of its slot's buffer.
inline void bias_gradient(const Tensor& dy_RN, const autograd::GradSlot& db) {
  kernels::BiasGradientArgs args{.dy = dy_RN.raw(),
                                 .db = db.buffer.raw(),
                                 .scratch = nullptr,
                                 .R = dy_RN.rows(),
                                 .N = dy_RN.dim(-1),
                                 .accumulate = db.accumulate,
                                 .dtype = dy_RN.dtype()};
  on_device(dy_RN, [&](auto exec) {
    const Tensor scratch = scratch_of(kernels::bias_gradient_scratch_bytes(exec, args));
    args.scratch = scratch.raw();
    kernels::bias_gradient(exec, args);
  });
}

}  // namespace switchyard::ops
