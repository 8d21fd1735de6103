// Lists of flat ranges that one kernel handles together. A range is cut into chunks, and the chunks of all ranges are
// numbered through: they are what threads and blocks take, however long the ranges are.
#pragma once

#include <cstdint>
#include <vector>

namespace switchyard::kernels {

constexpr int64_t kRangeChunk = 1 << 14;  // elements

constexpr int64_t chunks_of(int64_t n) { return (n + kRangeChunk - 1) / kRangeChunk; }

// Gives each range the number of its first chunk; how many there are in all.
template <class Range>
int64_t number_chunks(std::vector<Range>& ranges) {
  int64_t chunks = 0;
  for (Range& range : ranges) {
    range.first_chunk = chunks;
    chunks += chunks_of(range.n);
  }
  return chunks;
}

}  // namespace switchyard::kernels
