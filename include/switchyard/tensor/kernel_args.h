// Tensors as arguments of kernels.
#pragma once

#include "switchyard/tensor/tensor.h"

namespace switchyard {

inline Tensor scratch_of(int64_t bytes) { return Tensor::empty({bytes}, DType::u8, Purpose::buffers); }
inline void* raw_or_null(const Tensor& t) { return t.defined() ? t.raw() : nullptr; }  // of one that may be left out

}  // namespace switchyard
