// One pass over a row forward and one backward, which computes the activation again from h instead of reading a copy.
// Traffic: forward reads h, writes y; backward reads dy and h, writes dh.
#include "kernels/activation.h"

#include "kernels/cpu/vecmath.h"
#include "switchyard/base/threads.h"

#include <algorithm>
#include <numbers>

namespace switchyard::kernels {
namespace {

constexpr int64_t kGrain = 1 << 13;  // elements a thread should have at least

// Value and slope of an activation at x. Inlined always: a loop with a call in it is not vectorised.
template <class A>
struct Point {
  A value, slope;
};

struct Silu {
  template <class A>
  [[gnu::always_inline]] static Point<A> at(A x) {
    const A s = vec_sigmoid(x);
    return {x * s, s * (1 + x * (1 - s))};
  }
};

struct Relu {
  template <class A>
  [[gnu::always_inline]] static Point<A> at(A x) {
    return {x > 0 ? x : A{0}, x > 0 ? A{1} : A{0}};
  }
};

struct Relu2 {
  template <class A>
  [[gnu::always_inline]] static Point<A> at(A x) {
    const A r = x > 0 ? x : A{0};
    return {r * r, 2 * r};
  }
};

struct Gelu {
  // P(N(0, 1) < -a) = exp(-a^2/2) t p(t) for a >= 0, t = 1 / (1 + 0.27 a): the polynomial is fitted to
  // erfcx(a / sqrt(2)) / (2 t) at Chebyshev nodes, to 3e-8 relative; both tails and the density share the exponential.
  [[gnu::always_inline]] static Point<float> at(float x) {
    const float a = std::fabs(x);
    const float t = 1.0f / (1.0f + 0.27f * a);
    const float e = vec_exp(-0.5f * x * x);
    float p = 0.0292058334f;
    p = p * t - 0.127722557f;
    p = p * t + 0.172436097f;
    p = p * t - 0.0723445624f;
    p = p * t + 0.110054217f;
    p = p * t + 0.0710775825f;
    p = p * t + 0.102063549f;
    p = p * t + 0.107507093f;
    p = p * t + 0.107722758f;
    const float tail = e * t * p;
    const float below = x > 0.0f ? 1.0f - tail : tail;
    return {x * below, below + x * e * 0.398942280f};  // 1 / sqrt(2 pi)
  }
  static Point<double> at(double x) {
    const double below = 0.5 * std::erfc(-x / std::numbers::sqrt2);
    return {x * below, below + x * std::exp(-0.5 * x * x) * std::numbers::inv_sqrtpi / std::numbers::sqrt2};
  }
};

template <class Body>
void on_activation(Activation kind, Body&& body) {
  switch (kind) {
    case Activation::swiglu: return body(Silu{});
    case Activation::geglu:
    case Activation::gelu: return body(Gelu{});
    case Activation::relu: return body(Relu{});
    case Activation::relu2: return body(Relu2{});
  }
}

template <class Act, bool kGated, class T, class A = accumulate_t<T>>
void row_forward(const T* gate, const T* up, A weight, T* y, int64_t F) {
#pragma omp simd
  for (int64_t f = 0; f < F; ++f) {
    const A value = weight * Act::at(widen(gate[f])).value;
    if constexpr (kGated)
      y[f] = narrow<T>(value * widen(up[f]));
    else
      y[f] = narrow<T>(value);
  }
}

template <class Act, bool kGated, class T, class A = accumulate_t<T>>
void row_backward(const T* dy, const T* gate, const T* up, A weight, T* dgate, T* dup, int64_t F) {
#pragma omp simd
  for (int64_t f = 0; f < F; ++f) {
    const auto point = Act::at(widen(gate[f]));
    const A d = weight * widen(dy[f]);
    if constexpr (kGated) {
      dgate[f] = narrow<T>(d * widen(up[f]) * point.slope);
      dup[f] = narrow<T>(d * point.value);
    } else {
      dgate[f] = narrow<T>(d * point.slope);
    }
  }
}

// d y / d row weight = <dy, act(gate) * up>
template <class Act, bool kGated, class T, class A = accumulate_t<T>>
A row_weight_slope(const T* dy, const T* gate, const T* up, int64_t F) {
  A sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t f = 0; f < F; ++f) {
    const A value = widen(dy[f]) * Act::at(widen(gate[f])).value;
    if constexpr (kGated)
      sum += value * widen(up[f]);
    else
      sum += value;
  }
  return sum;
}

// As row_backward and row_weight_slope together, the activation computed once.
template <class Act, bool kGated, class T, class A = accumulate_t<T>>
A row_backward_both(const T* dy, const T* gate, const T* up, A weight, T* dgate, T* dup, int64_t F) {
  A sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t f = 0; f < F; ++f) {
    const auto point = Act::at(widen(gate[f]));
    const A d = widen(dy[f]);
    if constexpr (kGated) {
      const A u = widen(up[f]);
      dgate[f] = narrow<T>(weight * d * u * point.slope);
      dup[f] = narrow<T>(weight * d * point.value);
      sum += d * point.value * u;
    } else {
      dgate[f] = narrow<T>(weight * d * point.slope);
      sum += d * point.value;
    }
  }
  return sum;
}

template <class Act, bool kGated, class T>
void forward(const ActivationArgs& a) {
  using A = accumulate_t<T>;
  const int64_t width = kGated ? 2 * a.F : a.F;
  parallel_for(a.T, std::max<int64_t>(1, kGrain / a.F), [&](int64_t t) {
    const T* gate = static_cast<const T*>(a.h) + t * width;
    const A weight = a.row_weight ? static_cast<const A*>(a.row_weight)[t] : A{1};
    row_forward<Act, kGated>(gate, gate + a.F, weight, static_cast<T*>(a.y) + t * a.F, a.F);
  });
}

template <class Act, bool kGated, class T>
void backward(const ActivationBackwardArgs& a) {
  using A = accumulate_t<T>;
  const int64_t width = kGated ? 2 * a.F : a.F;
  auto* slopes = static_cast<A*>(a.drow_weight);
  parallel_for(a.T, std::max<int64_t>(1, kGrain / a.F), [&](int64_t t) {
    const T* gate = static_cast<const T*>(a.h) + t * width;
    const T* up = gate + a.F;
    const T* dy = static_cast<const T*>(a.dy) + t * a.F;
    const A weight = a.row_weight ? static_cast<const A*>(a.row_weight)[t] : A{1};
    T* dgate = static_cast<T*>(a.dh) + t * width;
    if (a.dh && slopes)
      slopes[t] = row_backward_both<Act, kGated>(dy, gate, up, weight, dgate, dgate + a.F, a.F);
    else if (a.dh)
      row_backward<Act, kGated>(dy, gate, up, weight, dgate, dgate + a.F, a.F);
    else if (slopes)
      slopes[t] = row_weight_slope<Act, kGated>(dy, gate, up, a.F);
  });
}

template <class Body>
void on_case(Activation kind, DType dtype, Body&& body) {
  on_floating(dtype, [&](auto t) {
    on_activation(kind, [&](auto act) {
      if (is_gated(kind))
        body(act, std::true_type{}, t);
      else
        body(act, std::false_type{}, t);
    });
  });
}

}  // namespace

void activation(exec::Cpu, const ActivationArgs& args) {
  if (args.F == 0) return;
  on_case(args.kind, args.dtype,
          [&](auto act, auto gated, auto t) { forward<decltype(act), gated.value, decltype(t)>(args); });
}

void activation_backward(exec::Cpu, const ActivationBackwardArgs& args) {
  if (args.F == 0) return;
  on_case(args.kind, args.dtype,
          [&](auto act, auto gated, auto t) { backward<decltype(act), gated.value, decltype(t)>(args); });
}

}  // namespace switchyard::kernels
