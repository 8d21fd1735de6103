// One pass. Traffic per element in f32: 16 bytes read, 12 written, and 2 for the bf16 copy.
#include "kernels/adamw.h"

#include "kernels/cpu/vecmath.h"
#include "switchyard/base/threads.h"

namespace switchyard::kernels {
namespace {

constexpr int64_t kGrain = 1 << 14;  // elements a thread should have at least

// What is the same for all elements, computed in f64.
template <class A>
struct Factors {
  explicit Factors(const AdamWArgs& a)
      : keep(static_cast<A>(1 - a.lr * a.weight_decay)),
        grad_scale(static_cast<A>(a.grad_scale)),
        take1(static_cast<A>(1 - a.beta1)),
        beta2(static_cast<A>(a.beta2)),
        take2(static_cast<A>(1 - a.beta2)),
        rate(static_cast<A>(a.lr / (1 - std::pow(a.beta1, static_cast<double>(a.step))))),
        root_scale(static_cast<A>(1 / std::sqrt(1 - std::pow(a.beta2, static_cast<double>(a.step))))),
        eps(static_cast<A>(a.eps)) {}
  A keep, grad_scale, take1, beta2, take2, rate, root_scale, eps;
};

template <class A, bool kCopy>
void update(const AdamWArgs& a, const Factors<A> f, int64_t begin, int64_t end) {
  A *w = static_cast<A*>(a.w), *m = static_cast<A*>(a.exp_avg), *v = static_cast<A*>(a.exp_avg_sq);
  const A* grad = static_cast<const A*>(a.grad);
  bf16* copy = static_cast<bf16*>(a.w_bf16);
#pragma omp simd
  for (int64_t i = begin; i < end; ++i) {
    const A g = f.grad_scale * grad[i];
    const A first = m[i] + f.take1 * (g - m[i]);
    const A second = f.beta2 * v[i] + f.take2 * g * g;
    const A updated = f.keep * w[i] - f.rate * first / (std::sqrt(second) * f.root_scale + f.eps);
    m[i] = first;
    v[i] = second;
    w[i] = updated;
    if constexpr (kCopy) copy[i] = bf16(static_cast<float>(updated));
  }
}

template <class A>
void adamw_typed(const AdamWArgs& a) {
  const Factors<A> factors(a);
  parallel_ranges(a.count, kGrain, [&](int64_t begin, int64_t end, int) {
    if (a.w_bf16)
      update<A, true>(a, factors, begin, end);
    else
      update<A, false>(a, factors, begin, end);
  });
}

}  // namespace

void adamw(exec::Cpu, const AdamWArgs& args) {
  if (args.dtype == DType::f64)
    adamw_typed<double>(args);
  else
    adamw_typed<float>(args);
}

}  // namespace switchyard::kernels
