// Element by element, in ranges of memory by thread.
#pragma once

#include "kernels/cpu/vecmath.h"
#include "switchyard/base/threads.h"

namespace switchyard::kernels {

constexpr int64_t kMapGrain = 1 << 14;  // elements a thread should have at least

// y[i] = f(x[i]...) in the type sums are kept in.
template <class T, class F, class... X>
void map(int64_t count, void* y, F f, X*... x) {
  T* out = static_cast<T*>(y);
  parallel_ranges(count, kMapGrain, [&](int64_t begin, int64_t end, int) {
#pragma omp simd
    for (int64_t i = begin; i < end; ++i) out[i] = narrow<T>(f(widen(static_cast<const T*>(x)[i])...));
  });
}

}  // namespace switchyard::kernels
