// Three passes over a row, which stays in the second-level cache: maximum, exponentials and their sum, gradient.
// Traffic: logits read; dlogits written if wanted.
#include "kernels/cross_entropy.h"

#include "kernels/cpu/row_max.h"
#include "kernels/cpu/vecmath.h"
#include "switchyard/base/threads.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace switchyard::kernels {
namespace {

constexpr int64_t kGrain = 1 << 13;  // elements a thread should have at least
constexpr int64_t kBlock = 1024;     // of a row summed in f32 before f64 takes over: vocabularies are long

// sum_v exp(x[v] - largest); the exponentials replace x if kKeep.
template <bool kKeep, class A>
double sum_of_exponentials(A* x, A largest, int64_t V) {
  double total = 0;
  for (int64_t begin = 0; begin < V; begin += kBlock) {
    const int64_t end = std::min(V, begin + kBlock);
    A sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t v = begin; v < end; ++v) {
      const A e = vec_exp(x[v] - largest);
      if constexpr (kKeep) x[v] = e;
      sum += e;
    }
    total += static_cast<double>(sum);
  }
  return total;
}

template <class T>
void rows(const CrossEntropyArgs& a) {
  using A = accumulate_t<T>;
  const A scale = static_cast<A>(a.scale);
  parallel_for(a.R, std::max<int64_t>(1, kGrain / a.V), [&](int64_t r) {
    A* x = static_cast<A*>(a.logits) + r * a.V;
    A* loss = static_cast<A*>(a.losses) + r;
    T* d = a.dlogits ? static_cast<T*>(a.dlogits) + r * a.V : nullptr;
    const int32_t target = a.targets[r];
    if (target < 0) {
      *loss = 0;
      if (d) std::fill(d, d + a.V, T(A{0}));
      return;
    }
    const A largest = row_max(x, a.V);
    const A gap = largest - x[target];
    const double sum = d ? sum_of_exponentials<true>(x, largest, a.V) : sum_of_exponentials<false>(x, largest, a.V);
    *loss = static_cast<A>(std::log(sum) + static_cast<double>(gap));
    if (!d) return;
    const A factor = static_cast<A>(static_cast<double>(scale) / sum);
    const A at_target = x[target] * factor - scale;
#pragma omp simd
    for (int64_t v = 0; v < a.V; ++v) d[v] = narrow<T>(x[v] * factor);
    d[target] = narrow<T>(at_target);
  });
}

template <class T>
void statistics(const SplitCrossEntropyArgs& a) {
  using A = accumulate_t<T>;
  parallel_for(a.R, std::max<int64_t>(1, kGrain / std::max<int64_t>(a.V, 1)), [&](int64_t r) {
    A* x = static_cast<A*>(a.logits) + r * a.V;
    double* row = a.statistics + r * 3;
    const int64_t target = a.targets[r] < 0 ? -1 : a.targets[r] - a.first;
    const A largest = row_max(x, a.V);
    row[0] = static_cast<double>(largest);
    row[1] = a.V == 0 ? 0 : sum_of_exponentials<false>(x, largest, a.V);
    row[2] = target >= 0 && target < a.V ? static_cast<double>(x[target]) : 0;
  });
}

template <class T>
void from_statistics(const SplitCrossEntropyArgs& a) {
  using A = accumulate_t<T>;
  parallel_for(a.R, std::max<int64_t>(1, kGrain / std::max<int64_t>(a.V, 1)), [&](int64_t r) {
    const A* x = static_cast<const A*>(a.logits) + r * a.V;
    const double* row = a.statistics + r * 3;
    T* d = a.dlogits ? static_cast<T*>(a.dlogits) + r * a.V : nullptr;
    const bool has_target = a.targets[r] >= 0;
    static_cast<A*>(a.losses)[r] = has_target ? static_cast<A>(std::log(row[1]) + (row[0] - row[2])) : A{0};
    if (!d) return;
    if (!has_target) {
      std::fill(d, d + a.V, T(A{0}));
      return;
    }
    const A largest = static_cast<A>(row[0]), factor = static_cast<A>(a.scale / row[1]);
    const int64_t target = a.targets[r] - a.first;
    const bool is_here = target >= 0 && target < a.V;
    const A at_target = is_here ? vec_exp(x[target] - largest) * factor - static_cast<A>(a.scale) : A{0};
#pragma omp simd
    for (int64_t v = 0; v < a.V; ++v) d[v] = narrow<T>(vec_exp(x[v] - largest) * factor);
    if (is_here) d[target] = narrow<T>(at_target);
  });
}

}  // namespace

void cross_entropy_statistics(exec::Cpu, const SplitCrossEntropyArgs& args) {
  on_floating(args.dtype, [&](auto t) { statistics<decltype(t)>(args); });
}

void cross_entropy_from_statistics(exec::Cpu, const SplitCrossEntropyArgs& args) {
  on_floating(args.dtype, [&](auto t) { from_statistics<decltype(t)>(args); });
}

void cross_entropy(exec::Cpu, const CrossEntropyArgs& args) {
  on_floating(args.dtype, [&](auto t) { rows<decltype(t)>(args); });
}

}  // namespace switchyard::kernels
