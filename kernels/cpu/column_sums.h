// Sums over rows, for gradients of what every row has: of chunks of rows, then of the chunks in order. Chunks depend on
// the number of rows alone, so no sum depends on the number of threads.
#pragma once

#include "switchyard/base/threads.h"

#include <algorithm>
#include <cstdint>

namespace switchyard::kernels {

constexpr int64_t kRowGrain = 1 << 14;  // elements a thread should have at least
constexpr int64_t kMaxChunks = 64;
constexpr int64_t kChunkRows = 32;  // at least

// Rows of so many columns that a thread should have at least.
inline int64_t grain_rows(int64_t columns) { return std::max<int64_t>(1, kRowGrain / std::max<int64_t>(columns, 1)); }

inline int64_t num_chunks(int64_t rows) { return std::clamp<int64_t>(rows / kChunkRows, 1, kMaxChunks); }

// body(chunk, begin, end) for the rows [begin, end) of each chunk
template <class Body>
void for_each_chunk(int64_t rows, int64_t columns, Body&& body) {
  const int64_t chunks = num_chunks(rows);
  parallel_for(chunks, std::max<int64_t>(1, chunks * kRowGrain / std::max<int64_t>(rows * columns, 1)),
               [&](int64_t c) { body(c, rows * c / chunks, rows * (c + 1) / chunks); });
}

// Adds up what the chunks have at parts, parts + stride, ...
template <class A>
void add_chunks(const A* parts, int64_t stride, int64_t chunks, A* sums, int64_t columns, bool accumulate) {
  for (int64_t c = 0; c < chunks; ++c) {
    const A* part = parts + c * stride;
    const bool assign = c == 0 && !accumulate;
#pragma omp simd
    for (int64_t n = 0; n < columns; ++n) sums[n] = (assign ? 0 : sums[n]) + part[n];
  }
}

}  // namespace switchyard::kernels
