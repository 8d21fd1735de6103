// Chunks of a fixed size are summed side by side and then added in order: the result does not depend on the number of
// threads. Traffic: x read once.
#include "kernels/sum_of_squares.h"

#include "kernels/cpu/vecmath.h"
#include "switchyard/base/threads.h"

#include <algorithm>

namespace switchyard::kernels {
namespace {

constexpr int64_t kChunk = 1 << 14;  // elements

int64_t num_chunks(int64_t count) { return (count + kChunk - 1) / kChunk; }

template <class T>
void sum_chunks(const SumOfSquaresArgs& a) {
  const T* x = static_cast<const T*>(a.x);
  auto* parts = static_cast<double*>(a.scratch);
  parallel_for(num_chunks(a.count), 1, [&](int64_t c) {
    const int64_t end = std::min(a.count, (c + 1) * kChunk);
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = c * kChunk; i < end; ++i) {
      const double value = static_cast<double>(widen(x[i]));
      sum += value * value;
    }
    parts[c] = sum;
  });
  double total = 0;
  for (int64_t c = 0; c < num_chunks(a.count); ++c) total += parts[c];
  *a.sum = total;
}

}  // namespace

int64_t sum_of_squares_scratch_bytes(const SumOfSquaresArgs& args) {
  return num_chunks(args.count) * static_cast<int64_t>(sizeof(double));
}

void sum_of_squares(exec::Cpu, const SumOfSquaresArgs& args) {
  on_floating(args.dtype, [&](auto t) { sum_chunks<decltype(t)>(args); });
}

}  // namespace switchyard::kernels
