// The router's numeric loops on logits z (T, E): selection, row weights, and the two losses.
// T tokens, E experts, K choices per token. `dtype` is f32 or f64. No result depends on the number of threads.
#pragma once

#include "switchyard/base/dtype.h"
#include "switchyard/base/exec.h"

#include <cstdint>

namespace switchyard::kernels {

enum class Score : uint8_t { softmax, sigmoid };

enum class GroupScore : uint8_t { max, top2_sum };  // of a group: its best expert, or the sum of exactly its two best
enum class GroupMask : uint8_t { neg_inf, zero };   // what experts of groups that are not kept count as

// A token chooses from the `keep` best of `count` groups of consecutive experts. Equal groups: the smaller index wins.
struct ExpertGroups {
  int64_t count = 1, keep = 1;
  GroupScore score = GroupScore::max;
  GroupMask mask = GroupMask::neg_inf;
  bool is_limit() const { return keep < count; }
};

// Largest K of: score(z) + bias, experts and groups alike; z itself where only its order matters, that is without a
// bias and without groups (or with max and neg_inf). Equal values: the smaller index wins.
struct SelectExpertsArgs {
  const void* logits;  // (T, E) dtype
  const float* bias;   // (E), or null
  int32_t* ids;        // (T, K) ascending; 0..K-1 for a row with a NaN or an infinity
  int64_t* counts;     // (E) tokens per expert; such rows are not counted
  double* margins;     // (T) last chosen - first rejected, expert or group; +inf where nothing is rejected, and in rows
                       // with a NaN or an infinity
  double* min_margin;  // (1) smallest of them; +inf without rows
  int64_t* bad_rows;   // (1) rows with a NaN or an infinity
  void* scratch;       // select_experts_scratch_bytes
  int64_t T, E, K;
  Score score;
  ExpertGroups groups;
  DType dtype;
};
int64_t select_experts_scratch_bytes(exec::Cpu, const SelectExpertsArgs&);
int64_t select_experts_scratch_bytes(exec::Cuda, const SelectExpertsArgs&);
void select_experts(exec::Cpu, const SelectExpertsArgs&);
void select_experts(exec::Cuda, const SelectExpertsArgs&);

// counts[g, e]: how often e is among the ids of rows [g rows, (g + 1) rows).
struct CountExpertsArgs {
  const int32_t* ids;  // (T, K)
  int64_t* counts;     // (G, E), G = ceil(T / rows)
  int64_t T, K, E, rows;
};
void count_experts(exec::Cpu, const CountExpertsArgs&);
void count_experts(exec::Cuda, const CountExpertsArgs&);

// shares[g, e] = counts[g, e] / sum_e counts[g, e], divided in f64; 0 in a row without counts.
struct SharesArgs {
  const int64_t* counts;  // (G, E)
  void* shares;           // (G, E) dtype
  int64_t G, E;
  DType dtype;
};
void shares(exec::Cpu, const SharesArgs&);
void shares(exec::Cuda, const SharesArgs&);

// w[t, i] = scale * s_e / sum, e = ids[t, i].  sum: over the chosen if `normalize` (at least 1e-20), else 1.
// A row with a NaN or an infinity gets NaN weights.
struct RouterWeightsArgs {
  const void* logits;  // (T, E) dtype
  const int32_t* ids;  // (T, K)
  void* weights;       // (T, K) dtype
  int64_t T, E, K;
  Score score;
  bool normalize;  // for softmax this is the softmax over the chosen logits
  double scale;
  DType dtype;
};
struct RouterWeightsBackwardArgs {
  RouterWeightsArgs forward;  // weights: as forward left them
  const void* dweights;       // (T, K) dtype
  void* dlogits;              // (T, E) dtype
};
void router_weights(exec::Cpu, const RouterWeightsArgs&);
void router_weights(exec::Cuda, const RouterWeightsArgs&);
void router_weights_backward(exec::Cpu, const RouterWeightsBackwardArgs&);
void router_weights_backward(exec::Cuda, const RouterWeightsBackwardArgs&);

// loss = factor * sum_t sum_e f[t / rows, e] * P[t, e];  P = softmax(z[t]), or sigmoid(z[t]) divided by its sum.
struct BalanceLossArgs {
  const void* logits;       // (T, E) dtype
  const void* frequencies;  // (G, E) dtype, G = ceil(T / rows); constants
  void* loss;               // (1) dtype
  double* scratch;          // router_loss_scratch_bytes(T)
  int64_t T, E, rows;
  Score score;
  double factor;
  DType dtype;
};
// loss = factor * sum_t (log sum_e exp z[t, e])^2
struct ZLossArgs {
  const void* logits;  // (T, E) dtype
  void* loss;          // (1) dtype
  double* scratch;     // router_loss_scratch_bytes(T)
  int64_t T, E;
  double factor;
  DType dtype;
};
int64_t router_loss_scratch_bytes(exec::Cpu, int64_t T);
int64_t router_loss_scratch_bytes(exec::Cuda, int64_t T);
void balance_loss(exec::Cpu, const BalanceLossArgs&);
void balance_loss(exec::Cuda, const BalanceLossArgs&);
void z_loss(exec::Cpu, const ZLossArgs&);
void z_loss(exec::Cuda, const ZLossArgs&);
// dlogits (T, E) dtype = gradient of the loss times dloss (1) dtype; loss and scratch are not read.
void balance_loss_backward(exec::Cpu, const BalanceLossArgs&, const void* dloss, void* dlogits);
void balance_loss_backward(exec::Cuda, const BalanceLossArgs&, const void* dloss, void* dlogits);
void z_loss_backward(exec::Cpu, const ZLossArgs&, const void* dloss, void* dlogits);
void z_loss_backward(exec::Cuda, const ZLossArgs&, const void* dloss, void* dlogits);

}  // namespace switchyard::kernels
