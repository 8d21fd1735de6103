// One row of a head at a time: read x, write y, the table stays in cache for all heads of a position.
#include "kernels/rope.h"

#include "kernels/cpu/vecmath.h"
#include "switchyard/base/threads.h"

#include <algorithm>

namespace switchyard::kernels {
namespace {

constexpr int64_t kGrain = 1 << 14;  // elements a thread should have at least

template <class T>
void rotate_row(const T* x, T* y, const accumulate_t<T>* cos, const accumulate_t<T>* sin, accumulate_t<T> sign,
                int64_t half) {
#pragma omp simd
  for (int64_t j = 0; j < half; ++j) {
    const accumulate_t<T> a = widen(x[j]), b = widen(x[j + half]), turn = sign * sin[j];
    y[j] = narrow<T>(a * cos[j] - b * turn);
    y[j + half] = narrow<T>(b * cos[j] + a * turn);
  }
}

template <class T>
void rope_typed(const RopeArgs& a) {
  using A = accumulate_t<T>;
  const int64_t half = a.R / 2;
  const A sign = a.is_inverse ? -1 : 1;
  parallel_for(a.B * a.S, std::max<int64_t>(1, kGrain / (a.H * a.D)), [&](int64_t token) {
    const int64_t b = token / a.S, s = token % a.S;
    const A* cos = static_cast<const A*>(a.cos) + s * half;
    const A* sin = static_cast<const A*>(a.sin) + s * half;
    for (int64_t h = 0; h < a.H; ++h) {
      const T* x = static_cast<const T*>(a.x) + b * a.x_batch + s * a.x_position + h * a.x_head;
      T* y = static_cast<T*>(a.y) + (token * a.H + h) * a.D;
      rotate_row(x, y, cos, sin, sign, half);
      std::copy(x + a.R, x + a.D, y + a.R);
    }
  });
}

}  // namespace

void rope(exec::Cpu, const RopeArgs& args) {
  if (args.B * args.S * args.H * args.D == 0) return;
  on_floating(args.dtype, [&](auto t) { rope_typed<decltype(t)>(args); });
}

}  // namespace switchyard::kernels
