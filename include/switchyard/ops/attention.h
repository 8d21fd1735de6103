// Causal attention over heads, block by block.
//   B sequences, S positions, H query heads, G heads of keys and values (H a multiple of G), d and e their widths
// Position i sees the positions j <= i; with a window only those with i - window < j; with documents only those of the
// same document. A sink is a logit per query head that takes a share of the softmax and gives nothing to the sum.
#pragma once

#include "switchyard/tensor/tensor.h"

namespace switchyard::ops {

struct AttentionOptions {
  double scale;         // of q.k, usually 1 / sqrt(d)
  int64_t window = 0;   // positions seen, the own one included; 0: all before it
  double soft_cap = 0;  // scores become cap * tanh(score / cap); 0: as they are
};

// Any strides. sinks_H: f32 or bf16 (f64 for f64). document_BS: i32, index of the document of each position.
Tensor attention(const Tensor& q_BSHd, const Tensor& k_BSGd, const Tensor& v_BSGe, const AttentionOptions& options,
                 const Tensor& sinks_H = {}, const Tensor& document_BS = {});  // (B, S, H, e)

// Decoding, without a gradient: the Q new positions are the last of `length` whose keys and values, the new ones
// included, stand at the beginning of caches with room for C.
Tensor attend_cached(const Tensor& q_BQHd, const Tensor& k_BCGd, const Tensor& v_BCGe, int64_t length,
                     const AttentionOptions& options, const Tensor& sinks_H = {});  // (B, Q, H, e)

}  // namespace switchyard::ops
