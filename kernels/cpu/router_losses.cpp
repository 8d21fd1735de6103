// Balance loss and z-loss. Forward reads each logit row and keeps two numbers of it; backward writes exponentials into
// the gradient's row and scales them in place. Sums over rows are made in fixed chunks, added in order in f64.
// Traffic: logits read once; backward also writes dlogits.
#include "kernels/cpu/router_math.h"
#include "kernels/router.h"
#include "switchyard/base/threads.h"

namespace switchyard::kernels {
namespace {

constexpr int64_t kChunk = 256;  // rows summed before they meet other chunks

int64_t num_chunks(int64_t T) { return (T + kChunk - 1) / kChunk; }

// factor * sum over rows of term(t), into (1) of type A
template <class A, class Term>
void sum_rows(int64_t T, double factor, double* partial, void* loss, Term&& term) {
  parallel_for(num_chunks(T), 1, [&](int64_t chunk) {
    double sum = 0;
    for (int64_t t = chunk * kChunk; t < std::min(T, (chunk + 1) * kChunk); ++t) sum += static_cast<double>(term(t));
    partial[chunk] = sum;
  });
  double total = 0;
  for (int64_t chunk = 0; chunk < num_chunks(T); ++chunk) total += partial[chunk];
  *static_cast<A*>(loss) = A(factor * total);
}

// sum_e f_e P_e
template <class A>
A balance_row(Score score, const A* z, const A* f, int64_t E) {
  A sum = 0, dot = 0;
  const A largest = score == Score::softmax ? row_max(z, E) : A(0);
  if (score == Score::softmax) {
#pragma omp simd reduction(+ : sum, dot)
    for (int64_t e = 0; e < E; ++e) {
      const A p = vec_exp(z[e] - largest);
      sum += p;
      dot += f[e] * p;
    }
  } else {
#pragma omp simd reduction(+ : sum, dot)
    for (int64_t e = 0; e < E; ++e) {
      const A s = vec_sigmoid(z[e]);
      sum += s;
      dot += f[e] * s;
    }
  }
  return dot / std::max(sum, kSmallestSum<A>);
}

// softmax: dz_j = c p_j (f_j - sum f p);  sigmoid: dz_j = c s_j (1 - s_j) / (sum s) (f_j - sum f s / sum s)
template <class A>
void balance_backward_row(Score score, const A* z, const A* f, int64_t E, A c, A* dz) {
  A sum = 0;
  if (score == Score::softmax) {
    const A largest = row_max(z, E);
#pragma omp simd reduction(+ : sum)
    for (int64_t e = 0; e < E; ++e) sum += dz[e] = vec_exp(z[e] - largest);
  } else {
#pragma omp simd reduction(+ : sum)
    for (int64_t e = 0; e < E; ++e) sum += dz[e] = vec_sigmoid(z[e]);
  }
  sum = std::max(sum, kSmallestSum<A>);
  const A mean = row_dot(dz, f, E) / sum, factor = c / sum;
  if (score == Score::softmax) {
#pragma omp simd
    for (int64_t e = 0; e < E; ++e) dz[e] *= factor * (f[e] - mean);
  } else {
#pragma omp simd
    for (int64_t e = 0; e < E; ++e) dz[e] *= (1 - dz[e]) * factor * (f[e] - mean);
  }
}

template <class A>
A squared(A x) {
  return x * x;
}

}  // namespace

int64_t router_loss_scratch_bytes(exec::Cpu, int64_t T) { return num_chunks(T) * int64_t{sizeof(double)}; }

void balance_loss(exec::Cpu, const BalanceLossArgs& a) {
  on_router_type(a.dtype, [&](auto value) {
    using A = decltype(value);
    const auto *z = static_cast<const A*>(a.logits), *f = static_cast<const A*>(a.frequencies);
    sum_rows<A>(a.T, a.factor, a.scratch, a.loss,
                [&](int64_t t) { return balance_row(a.score, z + t * a.E, f + t / a.rows * a.E, a.E); });
  });
}

void balance_loss_backward(exec::Cpu, const BalanceLossArgs& a, const void* dloss, void* dlogits) {
  on_router_type(a.dtype, [&](auto value) {
    using A = decltype(value);
    const auto *z = static_cast<const A*>(a.logits), *f = static_cast<const A*>(a.frequencies);
    const A c = A(a.factor) * *static_cast<const A*>(dloss);
    parallel_for(a.T, kRouterGrain, [&](int64_t t) {
      balance_backward_row(a.score, z + t * a.E, f + t / a.rows * a.E, a.E, c, static_cast<A*>(dlogits) + t * a.E);
    });
  });
}

void z_loss(exec::Cpu, const ZLossArgs& a) {
  on_router_type(a.dtype, [&](auto value) {
    using A = decltype(value);
    const auto* z = static_cast<const A*>(a.logits);
    sum_rows<A>(a.T, a.factor, a.scratch, a.loss, [&](int64_t t) { return squared(log_sum_exp(z + t * a.E, a.E)); });
  });
}

void z_loss_backward(exec::Cpu, const ZLossArgs& a, const void* dloss, void* dlogits) {
  on_router_type(a.dtype, [&](auto value) {
    using A = decltype(value);
    const A c = A(2 * a.factor) * *static_cast<const A*>(dloss);
    parallel_for(a.T, kRouterGrain, [&](int64_t t) {
      const A* z = static_cast<const A*>(a.logits) + t * a.E;
      A* dz = static_cast<A*>(dlogits) + t * a.E;
      const A largest = row_max(z, a.E), sum = row_sum_exp(z, largest, a.E);
      const A factor = c * (largest + std::log(sum)) / sum;
#pragma omp simd
      for (int64_t e = 0; e < a.E; ++e) dz[e] = vec_exp(z[e] - largest) * factor;
    });
  });
}

}  // namespace switchyard::kernels
