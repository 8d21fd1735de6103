// Block-wise causal attention with grouped queries; nothing of size queries x keys is ever stored.
//   s = scale q.k, soft-capped if asked;  p = exp(s - lse);  out = sum of p v;  lse = log(sum of exp(s), with the sink)
//   B sequences, H query heads, G heads of keys and values (H / G query heads share one), D width of q and k, V of v
// Query i stands at position i + keys - queries and sees the keys at positions j <= its own; with a window only
// those with j > position - window; with documents only those of its own document.
#pragma once

#include "switchyard/base/dtype.h"
#include "switchyard/base/exec.h"

#include <cstdint>

namespace switchyard::kernels {

// (B, positions, heads, width) with any strides, in elements; the width is contiguous.
struct Heads {
  const void* data = nullptr;
  int64_t batch = 0, position = 0, head = 0;  // strides
};

struct AttentionArgs {
  Heads q;                  // (B, queries, H, D)  dtype
  Heads k;                  // (B, keys, G, D)     dtype
  Heads v;                  // (B, keys, G, V)     dtype
  const int32_t* document;  // (B, keys)           index of the document of a position; null: one document
  const void* sinks;        // (H)                 f32, or f64 when dtype is f64: a logit that joins the sum; null: none
  void* out;                // (B, queries, H, V)  dtype
  void* lse;                // (B, H, queries)     as sinks
  void* scratch;            // attention_scratch_bytes(args)
  int64_t B, H, G, queries, keys, D, V;
  int64_t window;          // 0: none
  double scale, soft_cap;  // soft_cap 0: none
  DType dtype;
};
int64_t attention_scratch_bytes(exec::Cpu, const AttentionArgs&);
int64_t attention_scratch_bytes(exec::Cuda, const AttentionArgs&);
void attention(exec::Cpu, const AttentionArgs&);
void attention(exec::Cuda, const AttentionArgs&);

// The same for few queries and many keys, row by row: decoding. Writes no lse.
int64_t attend_few_scratch_bytes(exec::Cpu, const AttentionArgs&);
int64_t attend_few_scratch_bytes(exec::Cuda, const AttentionArgs&);
void attend_few(exec::Cpu, const AttentionArgs&);
void attend_few(exec::Cuda, const AttentionArgs&);

struct AttentionBackwardArgs {
  AttentionArgs forward;   // as it was for the forward pass, out and lse included; scratch is not used
  Heads dout;              // (B, queries, H, V)  dtype
  void* dq;                // (B, queries, H, D)  dtype; null: not wanted
  void* dk;                // (B, keys, G, D)     dtype; null: not wanted
  void* dv;                // (B, keys, G, V)     dtype; null: not wanted
  void* dsinks;            // (H)                 as sinks; null: not wanted
  bool accumulate_dsinks;  // add to the buffer instead of assigning
  void* scratch;           // attention_backward_scratch_bytes(args)
};
int64_t attention_backward_scratch_bytes(exec::Cpu, const AttentionBackwardArgs&);
int64_t attention_backward_scratch_bytes(exec::Cuda, const AttentionBackwardArgs&);
void attention_backward(exec::Cpu, const AttentionBackwardArgs&);
void attention_backward(exec::Cuda, const AttentionBackwardArgs&);

}  // namespace switchyard::kernels
