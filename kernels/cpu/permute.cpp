// Permutation by expert. Both moves run over tokens, so that the token's row is touched once however many choices it
// has. Traffic: gather reads T and writes R rows; combine reads R and writes T rows. The sort is two passes over the
// ids: each thread counts its tokens, and writes them from where the threads before it end.
#include "kernels/permute.h"

#include "kernels/cpu/vecmath.h"
#include "switchyard/base/threads.h"

#include <algorithm>
#include <cstring>

namespace switchyard::kernels {
namespace {

constexpr int64_t kSortGrain = 1024;      // tokens a thread should have at least
constexpr int64_t kGrainBytes = 1 << 15;  // bytes moved by a thread at least
constexpr int64_t kBlock = 128;           // elements summed at once

int64_t grain(int64_t bytes_per_token) {
  return std::max<int64_t>(1, kGrainBytes / std::max<int64_t>(1, bytes_per_token));
}

template <class T>
void combine_row(const T* h, const int32_t* positions, int64_t K, int64_t D, T* y) {
  using A = accumulate_t<T>;
  A sums[kBlock];
  for (int64_t begin = 0; begin < D; begin += kBlock) {
    const int64_t n = std::min(kBlock, D - begin);
    std::fill(sums, sums + n, A(0));
    for (int64_t i = 0; i < K; ++i) {
      if (positions[i] < 0) continue;
      const T* row = h + positions[i] * D + begin;
#pragma omp simd
      for (int64_t j = 0; j < n; ++j) sums[j] += widen(row[j]);
    }
    store_row(sums, y + begin, n);
  }
}

}  // namespace

int64_t expert_order_scratch_bytes(exec::Cpu, const ExpertOrderArgs& a) {
  return num_threads() * a.bins * int64_t{sizeof(int64_t)};
}

void expert_order(exec::Cpu, const ExpertOrderArgs& a) {
  const int threads = num_threads();
  std::fill(a.scratch, a.scratch + threads * a.bins, 0);
  // visit(i, bin) of the choices of tokens [begin, end); bin -1: without a row
  auto for_each_choice = [&](int64_t begin, int64_t end, auto&& visit) {
    for (int64_t t = begin; t < end; ++t) {
      int64_t before = -1;
      for (int64_t i = t * a.K; i < (t + 1) * a.K; ++i) {
        const int64_t expert = a.ids[i] - a.first;
        const int64_t bin = expert >= 0 && expert < a.bins * a.size ? expert / a.size : -1;
        visit(i, a.size > 1 && bin == before ? -1 : bin);
        before = bin;
      }
    }
  };
  parallel_ranges(a.T, kSortGrain, [&](int64_t begin, int64_t end, int thread) {
    int64_t* counts = a.scratch + thread * a.bins;
    for_each_choice(begin, end, [&](int64_t, int64_t bin) {
      if (bin >= 0) ++counts[bin];
    });
  });
  int64_t row = 0;
  for (int64_t bin = 0; bin < a.bins; ++bin) {
    a.offsets[bin] = row;
    for (int thread = 0; thread < threads; ++thread) {
      const int64_t count = a.scratch[thread * a.bins + bin];
      a.scratch[thread * a.bins + bin] = row;
      row += count;
    }
  }
  a.offsets[a.bins] = row;
  parallel_ranges(a.T, kSortGrain, [&](int64_t begin, int64_t end, int thread) {
    int64_t* next = a.scratch + thread * a.bins;
    for_each_choice(begin, end, [&](int64_t i, int64_t bin) {
      a.positions[i] = bin >= 0 ? static_cast<int32_t>(next[bin]++) : -1;
    });
  });
}

void gather_rows(exec::Cpu, const GatherRowsArgs& a) {
  const auto* x = static_cast<const std::byte*>(a.x);
  auto* y = static_cast<std::byte*>(a.y);
  parallel_for(a.T, grain(a.row_bytes * (a.K + 1)), [&](int64_t t) {
    for (int64_t i = 0; i < a.K; ++i) {
      const int64_t row = a.positions[t * a.K + i];
      if (row >= 0) std::memcpy(y + row * a.row_bytes, x + t * a.row_bytes, static_cast<size_t>(a.row_bytes));
    }
  });
}

void combine_rows(exec::Cpu, const CombineRowsArgs& a) {
  on_floating(a.dtype, [&](auto value) {
    using T = decltype(value);
    parallel_for(a.T, grain(a.D * (a.K + 1) * size_of(a.dtype)), [&](int64_t t) {
      combine_row(static_cast<const T*>(a.h), a.positions + t * a.K, a.K, a.D, static_cast<T*>(a.y) + t * a.D);
    });
  });
}

}  // namespace switchyard::kernels
