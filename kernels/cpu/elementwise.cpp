// One pass each: traffic is the operands read and the result written.
#include "kernels/elementwise.h"

#include "kernels/cpu/map.h"
#include "kernels/cpu/vecmath.h"

#include <algorithm>

namespace switchyard::kernels {
namespace {

template <class T>
void sigmoid_gate_typed(const SigmoidGateArgs& a) {
  using A = accumulate_t<T>;
  parallel_for(a.T, std::max<int64_t>(1, kMapGrain / a.D), [&](int64_t t) {
    const T* x = static_cast<const T*>(a.x) + t * a.D;
    T* y = static_cast<T*>(a.y) + t * a.D;
    const A s = vec_sigmoid(static_cast<const A*>(a.gate)[t]);
#pragma omp simd
    for (int64_t d = 0; d < a.D; ++d) y[d] = narrow<T>(s * widen(x[d]));
  });
}

template <class T>
void sigmoid_gate_backward_typed(const SigmoidGateBackwardArgs& a) {
  using A = accumulate_t<T>;
  parallel_for(a.T, std::max<int64_t>(1, kMapGrain / a.D), [&](int64_t t) {
    const T* x = static_cast<const T*>(a.x) + t * a.D;
    const T* dy = static_cast<const T*>(a.dy) + t * a.D;
    const A s = vec_sigmoid(static_cast<const A*>(a.gate)[t]);
    if (a.dx) {
      T* dx = static_cast<T*>(a.dx) + t * a.D;
#pragma omp simd
      for (int64_t d = 0; d < a.D; ++d) dx[d] = narrow<T>(s * widen(dy[d]));
    }
    if (a.dgate) {
      A sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int64_t d = 0; d < a.D; ++d) sum += widen(dy[d]) * widen(x[d]);
      static_cast<A*>(a.dgate)[t] = sum * s * (1 - s);
    }
  });
}

}  // namespace

void add(exec::Cpu, const AddArgs& args) {
  on_floating(args.dtype, [&](auto t) {
    using A = accumulate_t<decltype(t)>;
    map<decltype(t)>(
        args.count, args.y, [](A a, A b) { return a + b; }, args.a, args.b);
  });
}

void add_scaled(exec::Cpu, const AddScaledArgs& args) {
  on_floating(args.dtype, [&](auto t) {
    using A = accumulate_t<decltype(t)>;
    const A factor = static_cast<A>(args.factor);
    if (args.accumulate)
      map<decltype(t)>(
          args.count, args.y, [factor](A x, A y) { return y + factor * x; }, args.x, args.y);
    else
      map<decltype(t)>(
          args.count, args.y, [factor](A x) { return factor * x; }, args.x);
  });
}

void clamp(exec::Cpu, const ClampArgs& args) {
  on_floating(args.dtype, [&](auto t) {
    using A = accumulate_t<decltype(t)>;
    const A limit = static_cast<A>(args.limit);
    map<decltype(t)>(
        args.count, args.y, [limit](A x) { return x > limit    ? limit
                                                  : x < -limit ? -limit
                                                               : x; }, args.x);
  });
}

void clamp_backward(exec::Cpu, const ClampBackwardArgs& args) {
  on_floating(args.dtype, [&](auto t) {
    using A = accumulate_t<decltype(t)>;
    const A limit = static_cast<A>(args.limit);
    map<decltype(t)>(
        args.count, args.dx, [limit](A dy, A x) { return x > limit || x < -limit ? A{0} : dy; }, args.dy, args.x);
  });
}

void sigmoid_gate(exec::Cpu, const SigmoidGateArgs& args) {
  if (args.D == 0) return;
  on_floating(args.dtype, [&](auto t) { sigmoid_gate_typed<decltype(t)>(args); });
}

void sigmoid_gate_backward(exec::Cpu, const SigmoidGateBackwardArgs& args) {
  if (args.D == 0) return;
  on_floating(args.dtype, [&](auto t) { sigmoid_gate_backward_typed<decltype(t)>(args); });
}

}  // namespace switchyard::kernels
