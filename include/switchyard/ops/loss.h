// Output head and cross entropy in one op.     T tokens, V vocabulary, D width
//
// Logits are made and used up in chunks of tokens, so T x V is never stored. If a gradient is needed, forward computes
// it at once, chunk by chunk: making the logits a second time in backward would cost a third more arithmetic. Kept for
// backward are dx (T, D) in the dtype of x and dw (V, D) in f32; backward multiplies them by the gradient that arrives,
// which for the plain total loss is 1.
#pragma once

#include "switchyard/ops/vocabulary.h"

namespace switchyard::ops {

// Tokens of a chunk of logits, the same on each of the parts of a vocabulary of V rows.
int64_t loss_chunk_rows(int64_t V, int64_t num_parts = 1);

// scale * sum over tokens of -log softmax(w x[t])[target[t]], one element in f32 (f64 for f64). x and w: one dtype of
// f64, f32 and bf16; targets are i32; -1: no loss. Losses are added in token order in f64. A target outside the
// vocabulary is an Error(input) that names it and its position. Where w is a part of the vocabulary the loss is that of
// all of it, the gradient of x what this part adds to it; every part gets the same x and targets.
Tensor linear_cross_entropy(const Tensor& x_TD, const Tensor& w_VD, const Tensor& targets_T, double scale,
                            const VocabularyPart& part = {});

// The loss of every token, f32 (f64), 0 where there is no target; no gradient.
Tensor cross_entropy_losses(const Tensor& x_TD, const Tensor& w_VD, const Tensor& targets_T,
                            const VocabularyPart& part = {});

}  // namespace switchyard::ops
