// Row-wise pieces shared by the router's kernels. A row has E logits of type A (f32 or f64). Traffic: each piece reads
// its row once, from cache after the first; none writes.
#pragma once

#include "kernels/cpu/row_max.h"
#include "kernels/cpu/vecmath.h"
#include "switchyard/base/error.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace switchyard::kernels {

constexpr int64_t kRouterGrain = 64;  // rows a thread should have at least

// Below every sum of sigmoids that a finite row should be divided by: far negative logits have sigmoids of 0.
template <class A>
constexpr A kSmallestSum = A(1e-20);

// The router computes in f32, or in f64 for f64: body(A{}).
template <class Body>
inline void on_router_type(DType dtype, Body&& body) {
  if (dtype == DType::f64)
    body(double{});
  else if (dtype == DType::f32)
    body(float{});
  else
    fail(ExitCode::internal, "router: {} where f32 or f64 is meant", name_of(dtype));
}

template <class A>
inline bool is_finite_row(const A* z, int64_t E) {
  int bad = 0;
#pragma omp simd reduction(| : bad)
  for (int64_t e = 0; e < E; ++e) bad |= !(std::fabs(z[e]) <= std::numeric_limits<A>::max());
  return bad == 0;
}

template <class A>
inline A row_sum_exp(const A* z, A largest, int64_t E) {
  A sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t e = 0; e < E; ++e) sum += vec_exp(z[e] - largest);
  return sum;
}

template <class A>
inline A log_sum_exp(const A* z, int64_t E) {
  const A largest = row_max(z, E);
  return largest + std::log(row_sum_exp(z, largest, E));
}

template <class A>
inline A row_dot(const A* a, const A* b, int64_t E) {
  A sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t e = 0; e < E; ++e) sum += a[e] * b[e];
  return sum;
}

}  // namespace switchyard::kernels
