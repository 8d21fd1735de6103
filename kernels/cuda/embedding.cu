// Rows of a table by id, and the table's gradient.          T tokens, V rows of the table, D columns
// Forward: a team copies a token's row. Backward: a radix sort of 8 bits a pass (stable_order.cuh) orders the tokens by
// row of the table, equal ones in token order; then the team of the first token of each row adds up the gradients of
// its tokens in that order. Where rows are assigned, all are zeroed before. Traffic: forward reads and writes T rows;
// backward reads dy, writes the rows that have tokens, and zeros for V rows; a pass of the sort moves 8 bytes a token.
#include "kernels/embedding.h"

#include "kernels/cuda/stable_order.cuh"

namespace switchyard::kernels {
namespace cuda {
namespace {

constexpr int kDigitBits = 8;
constexpr int kDigits = 1 << kDigitBits;

template <class T, int N, class TeamOf>
__global__ void __launch_bounds__(kBlock) take_rows(EmbeddingArgs a) {
  const int D = static_cast<int>(a.D);
  for (int64_t t = TeamOf::first_row(); t < a.T; t += TeamOf::row_stride()) {
    const int64_t row = a.ids[t] - a.first;
    const bool is_here = row >= 0 && row < a.V;
    const T* w = static_cast<const T*>(a.w) + row * D;
    T* y = static_cast<T*>(a.y) + t * D;
    for (int d = TeamOf::thread() * N; d < D; d += TeamOf::kSize * N)
      (is_here ? Pack<T, N>::load(w + d) : Pack<T, N>{}).store(y + d);
  }
}

// A token and the row it belongs to; V stands for tokens of other parts of the table, which come last.
struct Token {
  int32_t row, token;
};

// One pass of the radix sort, by the digit at `shift`. The first one reads ids.
struct Digits {
  const int32_t* ids;   // null after the first pass
  const Token* sorted;  // by lower digits
  Token* next;
  int64_t first, V;
  int shift;

  __device__ Token at(int64_t i) const {
    if (!ids) return sorted[i];
    const int64_t row = ids[i] - first;
    return {static_cast<int32_t>(row >= 0 && row < V ? row : V), static_cast<int32_t>(i)};
  }
  __device__ int bin(int64_t i) const { return at(i).row >> shift & (kDigits - 1); }
  __device__ void place(int64_t i, int position) const { next[position] = at(i); }
};

// Of `count` sorted tokens the first behind `first` with another row: steps that double, for most rows have few tokens,
// then bisection.
__device__ int64_t end_of_row(const Token* sorted, int64_t count, int64_t first) {
  const int32_t row = sorted[first].row;
  int64_t step = 1;
  while (first + step < count && sorted[first + step].row == row) step *= 2;
  int64_t begin = first + step / 2 + 1, end = min(count, first + step);
  while (begin < end) {
    const int64_t middle = (begin + end) / 2;
    if (sorted[middle].row == row)
      begin = middle + 1;
    else
      end = middle;
  }
  return begin;
}

// The team of a row's first token adds all of the row's tokens.
template <class T, int N, class TeamOf>
__global__ void __launch_bounds__(kBlock) add_tokens(EmbeddingBackwardArgs a, const Token* sorted) {
  const int D = static_cast<int>(a.D);
  for (int64_t first = TeamOf::first_row(); first < a.T; first += TeamOf::row_stride()) {
    const int32_t row = sorted[first].row;
    if (row == a.V || (first > 0 && sorted[first - 1].row == row)) continue;
    const int64_t end = end_of_row(sorted, a.T, first);
    float* dw = static_cast<float*>(a.dw) + int64_t{row} * D;
    for (int d = TeamOf::thread() * N; d < D; d += TeamOf::kSize * N) {
      Values<N> sum{};
      if (a.accumulate) sum = load<N>(dw + d);
#pragma unroll 4
      for (int64_t i = first; i < end; ++i) {
        const Values<N> dy = load<N>(static_cast<const T*>(a.dy) + int64_t{sorted[i].token} * D + d);
#pragma unroll
        for (int j = 0; j < N; ++j) sum[j] += dy[j];
      }
      store(dw + d, sum);
    }
  }
}

// Two lists of tokens, the tables of a pass, and where its digits begin.
struct Scratch {
  Chunks chunks;
  int64_t tokens_bytes, tables_bytes, bytes;

  explicit Scratch(const EmbeddingBackwardArgs& a)
      : chunks(a.T, kDigits),
        tokens_bytes(ceil_div(a.T * int64_t{sizeof(Token)}, 16) * 16),
        tables_bytes(chunks.scratch_bytes()),
        bytes(2 * tokens_bytes + tables_bytes + (kDigits + 1) * int64_t{sizeof(int64_t)}) {}
};

const Token* sort_tokens(exec::Cuda exec, const EmbeddingBackwardArgs& a) {
  const Scratch scratch(a);
  auto* base = static_cast<std::byte*>(a.scratch);
  auto *sorted = reinterpret_cast<Token*>(base), *next = reinterpret_cast<Token*>(base + scratch.tokens_bytes);
  auto* tables = reinterpret_cast<int32_t*>(base + 2 * scratch.tokens_bytes);
  auto* offsets = reinterpret_cast<int64_t*>(base + 2 * scratch.tokens_bytes + scratch.tables_bytes);
  for (int shift = 0; shift == 0 || a.V >> shift != 0; shift += kDigitBits) {
    const Digits digits{shift == 0 ? a.ids : nullptr, sorted, next, a.first, a.V, shift};
    launch_order(exec, "embedding_backward", digits, scratch.chunks, tables, offsets);
    std::swap(sorted, next);
  }
  return sorted;
}

}  // namespace
}  // namespace cuda

using namespace cuda;

void embedding(exec::Cuda exec, const EmbeddingArgs& a) {
  if (a.T == 0 || a.D == 0) return;
  on_cuda_type(a.dtype, "embedding", [&](auto value) {
    using T = decltype(value);
    on_rows<T>(a.D, is_wide<T>(a.D, a.w, a.y), [&](auto n, auto team) {
      take_rows<T, n, decltype(team)><<<grid_of_rows(team, a.T), kBlock, 0, exec.stream>>>(a);
      check_launch("embedding");
    });
  });
}

int64_t embedding_backward_scratch_bytes(exec::Cuda, const EmbeddingBackwardArgs& a) { return Scratch(a).bytes; }

void embedding_backward(exec::Cuda exec, const EmbeddingBackwardArgs& a) {
  on_cuda_type(a.dtype, "embedding_backward", [&](auto value) {
    using T = decltype(value);
    const int64_t bytes = a.V * a.D * int64_t{sizeof(float)};
    if (!a.accumulate) set_zero(exec, a.dw, bytes, "embedding_backward: zeros");
    if (a.T == 0 || bytes == 0) return;
    const Token* sorted = sort_tokens(exec, a);
    // Packs of 16 bytes of dw: with more, neighbours' would lie 32 bytes apart, and an access use half of its sectors.
    on_rows<float>(a.D, is_wide<T>(a.D, a.dy, a.dw), [&](auto n, auto team) {
      add_tokens<T, n, decltype(team)><<<grid_of_rows(team, a.T), kBlock, 0, exec.stream>>>(a, sorted);
      check_launch("embedding_backward");
    });
  });
}

}  // namespace switchyard::kernels
