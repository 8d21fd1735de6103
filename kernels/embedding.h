// Rows of a table by id.     T tokens, V rows of the table, D columns
// The table may be a part of a larger one, rows [first, first + V): ids of other parts give rows of zeros, and nothing
// is added for them.
#pragma once

#include "switchyard/base/dtype.h"
#include "switchyard/base/exec.h"

#include <cstdint>

namespace switchyard::kernels {

struct EmbeddingArgs {
  const int32_t* ids;  // (T)
  const void* w;       // (V, D)  dtype
  void* y;             // (T, D)  w[ids[t] - first]
  int64_t T, V, D;
  int64_t first;
  DType dtype;
};
void embedding(exec::Cpu, const EmbeddingArgs&);
void embedding(exec::Cuda, const EmbeddingArgs&);

struct EmbeddingBackwardArgs {
  const int32_t* ids;  // (T)
  const void* dy;      // (T, D)  dtype
  void* dw;            // (V, D)  f32, or f64 when dtype is f64: sum of dy[t] over tokens of that id
  void* scratch;       // embedding_backward_scratch_bytes(args)
  int64_t T, V, D;
  int64_t first;
  bool accumulate;  // false: assign, which makes rows without a token zero
  DType dtype;
};
int64_t embedding_backward_scratch_bytes(exec::Cpu, const EmbeddingBackwardArgs&);
int64_t embedding_backward_scratch_bytes(exec::Cuda, const EmbeddingBackwardArgs&);
void embedding_backward(exec::Cpu, const EmbeddingBackwardArgs&);
void embedding_backward(exec::Cuda, const EmbeddingBackwardArgs&);

}  // namespace switchyard::kernels
