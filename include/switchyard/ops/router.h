// Routing on f32 (or f64) logits: selection, row weights, balance losses. T tokens, E experts, K choices per token,
// G groups of consecutive tokens. Selections, counts and frequencies are constants in backward. Shapes or dtypes that
// do not fit are an Error(internal).
#pragma once

#include "kernels/router.h"
#include "switchyard/tensor/tensor.h"

namespace switchyard::ops {

using kernels::ExpertGroups;
using kernels::Score;

struct Selection {
  Tensor ids_TK;        // i32, ascending in each row
  Tensor counts_E;      // i64, tokens per expert
  Tensor margins_T;     // f64, gap between the last chosen and the first rejected expert or group; +inf: none rejected
  Tensor min_margin_1;  // f64, the smallest of them; +inf without tokens
  Tensor bad_rows_1;    // i64, tokens with a NaN or an infinity: experts 0..K-1, weights NaN, not counted
  double min_margin() const { return min_margin_1.item(); }  // waits for the device, as bad_rows() does
  int64_t bad_rows() const { return bad_rows_1.to_vector<int64_t>()[0]; }
};

// The k experts of each token: by logit, or with a finite bias (f32) by score(logit) + bias, which weights do not see
// (Wang et al. 2024, Auxiliary-Loss-Free Load Balancing). Equal values: smaller index first. With groups, only among
// the experts of the best ones: by the best expert of each (DeepSeek-AI 2024, DeepSeek-V2, device-limited routing) or
// by the sum of its two best (DeepSeek-AI 2024, DeepSeek-V3, node-limited routing).
Selection select_experts(const Tensor& logits_TE, int64_t k, const Tensor& bias_E = {}, Score score = Score::softmax,
                         const ExpertGroups& groups = {});

// counts[g, e] (i64): tokens of group g that chose e; a group is `rows` consecutive tokens.
Tensor count_experts(const Tensor& ids_TK, int64_t num_experts, int64_t rows);

// counts_GE (i64) divided by the sum of their row, in `dtype` (f32 or f64); 0 in a row without counts.
Tensor shares(const Tensor& counts_GE, DType dtype);

struct WeightRule {
  Score score = Score::softmax;
  bool normalize = true;  // chosen weights divided by their sum; for softmax the same as a softmax after the selection
  double scale = 1.0;
};

// (T, K) weights of the chosen experts. With one choice, normalised weights are `scale` and have no gradient.
Tensor router_weights(const Tensor& logits_TE, const Tensor& ids_TK, const WeightRule& rule);

// E / divisor * sum_t sum_e f[group of t, e] P[t, e]: 1 when load is even and divisor is the number of tokens. P is the
// softmax (Fedus et al. 2021, Switch Transformers), or sigmoids divided by their sum (DeepSeek-AI 2024, DeepSeek-V3).
// frequencies_GE: shares of the choices of each group's tokens, dtype of the logits.
Tensor balance_loss(const Tensor& logits_TE, const Tensor& frequencies_GE, int64_t rows, double divisor, Score score);

// 1 / divisor * sum_t (log sum_e exp z[t, e])^2      Zoph et al. 2022, ST-MoE
Tensor z_loss(const Tensor& logits_TE, double divisor);

}  // namespace switchyard::ops
