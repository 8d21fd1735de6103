// Row weights of the chosen experts and their gradient. Four rules, u = dL/dw:
//   softmax            w_e = scale p_e                dz_j = scale p_j (u_j - sum_i u_i p_i)     for every expert j
//   softmax, normal.   w_e = scale g_e, g = softmax of the chosen logits
//                                                     dz_j = scale g_j (u_j - sum_i u_i g_i)     for chosen j
//   sigmoid, normal.   w_e = scale g_e, g_e = s_e / sum s
//                                                     dz_j = scale (1 - s_j) g_j (u_j - sum_i u_i g_i)
//   sigmoid            w_e = scale s_e                dz_j = scale s_j (1 - s_j) u_j
// Traffic: logits read once, weights or dlogits written.
#include "kernels/cpu/router_math.h"
#include "kernels/router.h"
#include "switchyard/base/threads.h"

namespace switchyard::kernels {
namespace {

// w[i] = the rule's weight before scaling
template <class A>
void weigh_row(const RouterWeightsArgs& a, const A* z, const int32_t* ids, A* w) {
  if (!is_finite_row(z, a.E)) {  // also where no chosen logit is bad: the step must fail
    std::fill(w, w + a.K, std::numeric_limits<A>::quiet_NaN());
    return;
  }
  if (a.score == Score::softmax && !a.normalize) {
    const A largest = row_max(z, a.E), sum = row_sum_exp(z, largest, a.E);
    for (int64_t i = 0; i < a.K; ++i) w[i] = vec_exp(z[ids[i]] - largest) / sum;
    return;
  }
  A largest = -std::numeric_limits<A>::infinity(), sum = 0;
  for (int64_t i = 0; i < a.K; ++i) largest = std::max(largest, z[ids[i]]);
  for (int64_t i = 0; i < a.K; ++i) {
    w[i] = a.score == Score::softmax ? vec_exp(z[ids[i]] - largest) : vec_sigmoid(z[ids[i]]);
    sum += w[i];
  }
  if (!a.normalize) return;
  sum = std::max(sum, kSmallestSum<A>);
  for (int64_t i = 0; i < a.K; ++i) w[i] /= sum;
}

template <class A>
void weights_backward_row(const RouterWeightsArgs& a, const A* z, const int32_t* ids, const A* w, const A* u, A* dz) {
  const A scale = A(a.scale);
  A dot = 0;  // sum_i u_i g_i, or with p. Divided: of a single choice g is exactly 1, and its gradient exactly 0
  for (int64_t i = 0; i < a.K && scale != 0; ++i) dot += u[i] * (w[i] / scale);
  if (a.score == Score::softmax && !a.normalize) {
    const A largest = row_max(z, a.E), factor = -scale * dot / row_sum_exp(z, largest, a.E);
#pragma omp simd
    for (int64_t e = 0; e < a.E; ++e) dz[e] = vec_exp(z[e] - largest) * factor;
    for (int64_t i = 0; i < a.K; ++i) dz[ids[i]] += w[i] * u[i];
    return;
  }
  std::fill(dz, dz + a.E, A(0));
  if (!a.normalize) dot = 0;
  for (int64_t i = 0; i < a.K; ++i) {
    const A slope = a.score == Score::softmax ? 1 : vec_sigmoid(-z[ids[i]]);
    dz[ids[i]] = slope * w[i] * (u[i] - dot);
  }
}

}  // namespace

void router_weights(exec::Cpu, const RouterWeightsArgs& a) {
  on_router_type(a.dtype, [&](auto value) {
    using A = decltype(value);
    parallel_for(a.T, kRouterGrain, [&](int64_t t) {
      A* w = static_cast<A*>(a.weights) + t * a.K;
      weigh_row(a, static_cast<const A*>(a.logits) + t * a.E, a.ids + t * a.K, w);
      for (int64_t i = 0; i < a.K; ++i) w[i] *= A(a.scale);
    });
  });
}

void router_weights_backward(exec::Cpu, const RouterWeightsBackwardArgs& b) {
  const RouterWeightsArgs& a = b.forward;
  on_router_type(a.dtype, [&](auto value) {
    using A = decltype(value);
    parallel_for(a.T, kRouterGrain, [&](int64_t t) {
      weights_backward_row(a, static_cast<const A*>(a.logits) + t * a.E, a.ids + t * a.K,
                           static_cast<const A*>(a.weights) + t * a.K, static_cast<const A*>(b.dweights) + t * a.K,
                           static_cast<A*>(b.dlogits) + t * a.E);
    });
  });
}

}  // namespace switchyard::kernels
