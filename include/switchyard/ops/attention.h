// Causal attention over heads, y_i = sum_j softmax_j(scale q_i . k_j) v_j, block by block with a running maximum and
// sum (Dao et al. 2022, FlashAttention); several query heads may share one of keys (Ainslie et al. 2023, GQA).
//   B sequences, S positions, H query heads, G heads of keys and values (H a multiple of G), d and e their widths
// Position i sees the positions j <= i; with a window only those with i - window < j; with documents only those of the
// same document. A sink is a logit per query head that takes a share of the softmax and gives nothing to the sum, as in
// gpt-oss (after Xiao et al. 2023, StreamingLLM); the soft cap is that of Gemma 2 (Gemma Team 2024).
#pragma once

#include "switchyard/tensor/tensor.h"

namespace switchyard::ops {

struct AttentionOptions {
  double scale;         // of q.k, usually 1 / sqrt(d)
  int64_t window = 0;   // positions seen, the own one included; 0: all before it
  double soft_cap = 0;  // scores become cap * tanh(score / cap); 0: as they are
};

// q, k and v: one dtype of f64, f32 and bf16, any strides. sinks_H: f32 or bf16 (f64 for f64). document_BS: i32, index
// of the document of each position. Error(internal) where shapes or dtypes do not fit each other.
Tensor attention(const Tensor& q_BSHd, const Tensor& k_BSGd, const Tensor& v_BSGe, const AttentionOptions& options,
                 const Tensor& sinks_H = {}, const Tensor& document_BS = {});  // (B, S, H, e)

// Decoding, without a gradient: the Q new positions are the last of `length` whose keys and values, the new ones
// included, stand at the beginning of caches with room for C.
Tensor attend_cached(const Tensor& q_BQHd, const Tensor& k_BCGd, const Tensor& v_BCGe, int64_t length,
                     const AttentionOptions& options, const Tensor& sinks_H = {});  // (B, Q, H, e)

}  // namespace switchyard::ops
