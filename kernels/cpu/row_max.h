// The largest of a row, for exponentials that do not overflow.
#pragma once

#include <cstdint>
#include <limits>

namespace switchyard::kernels {

// -infinity of no elements; a NaN is passed over, and shows in the sum of exponentials.
template <class A>
inline A row_max(const A* x, int64_t count) {
  A largest = -std::numeric_limits<A>::infinity();
#pragma omp simd reduction(max : largest)
  for (int64_t i = 0; i < count; ++i) largest = x[i] > largest ? x[i] : largest;
  return largest;
}

}  // namespace switchyard::kernels
