// Rows of a table by id, and the table's gradient.          T tokens, V rows of the table, D columns
// Forward: a team copies a token's row. Backward: a radix sort orders the tokens by their row of the table, equal ones
// in token order; then the team of the first token of each row adds up the gradients of its tokens in that order. Where
// rows are assigned, all are zeroed before. Traffic: forward reads and writes T rows; backward reads dy, writes the
// rows that have tokens, and in f32 zeros for V rows; sorting moves 12 bytes a token for each 8 bits of V.
#include "kernels/embedding.h"

#include "kernels/cuda/reduce.cuh"

namespace switchyard::kernels {
namespace cuda {
namespace {

template <class T, int N, class TeamOf>
__global__ void __launch_bounds__(kBlock) copy_rows(EmbeddingArgs a) {
  for (int64_t t = TeamOf::first_row(); t < a.T; t += TeamOf::row_stride()) {
    const int64_t row = a.ids[t] - a.first;
    const bool is_here = row >= 0 && row < a.V;
    for (int64_t d = TeamOf::thread() * N; d < a.D; d += TeamOf::kSize * N) {
      Pack<T, N> pack{};
      if (is_here) pack = Pack<T, N>::load(static_cast<const T*>(a.w) + row * a.D + d);
      pack.store(static_cast<T*>(a.y) + t * a.D + d);
    }
  }
}

// Tokens are sorted digit by digit, from the lowest, in tiles: a block's thread d counts, or places, those with digit
// d.
constexpr int kDigitBits = 8;
constexpr int kDigits = 1 << kDigitBits;
constexpr int kTile = 512;
static_assert(kDigits == kBlock);

struct Keys {
  const int32_t* ids;
  int64_t first, V;

  __device__ int64_t operator()(int64_t token) const {  // V: of no row here
    const int64_t row = ids[token] - first;
    return row >= 0 && row < V ? row : V;
  }
};

struct Digit {
  Keys keys;
  const int32_t* from;  // (T) tokens in the order so far; null: 0 .. T - 1
  int32_t* to;          // (T)
  int32_t* counts;      // (tiles, kDigits)
  int64_t T;
  int shift;

  __device__ int64_t tiles() const { return (T + kTile - 1) / kTile; }
};

struct Tile {
  int32_t tokens[kTile], digits[kTile];

  __device__ int load(const Digit& a, int64_t tile) {  // returns how many
    const int64_t begin = tile * kTile;
    const int count = static_cast<int>(min(int64_t{kTile}, a.T - begin));
    for (int i = static_cast<int>(threadIdx.x); i < count; i += kBlock) {
      tokens[i] = a.from ? a.from[begin + i] : static_cast<int32_t>(begin) + i;
      digits[i] = static_cast<int32_t>(a.keys(tokens[i]) >> a.shift) & (kDigits - 1);
    }
    __syncthreads();
    return count;
  }
};

__global__ void __launch_bounds__(kBlock) count_digits(Digit a) {
  __shared__ Tile tile;
  for (int64_t t = blockIdx.x; t < a.tiles(); t += gridDim.x) {
    const int tokens = tile.load(a, t);
    int32_t count = 0;
    for (int i = 0; i < tokens; ++i) count += tile.digits[i] == static_cast<int>(threadIdx.x);
    a.counts[t * kDigits + threadIdx.x] = count;
    __syncthreads();  // before the tile is loaded again
  }
}

// Sum of the values of the threads before this one.
__device__ int32_t sum_before(int32_t value) {
  __shared__ int32_t totals[kBlock / kWarp];
  int32_t sum = value;
#pragma unroll
  for (int offset = 1; offset < kWarp; offset *= 2) {
    const int32_t other = __shfl_up_sync(kAllLanes, sum, offset);
    if (lane_of_warp() >= offset) sum += other;
  }
  if (lane_of_warp() == kWarp - 1) totals[warp_of_block()] = sum;
  __syncthreads();
  for (int w = 0; w < warp_of_block(); ++w) sum += totals[w];
  return sum - value;
}

__global__ void __launch_bounds__(kBlock) place_tokens(Digit a) {
  __shared__ Tile tile;
  for (int64_t t = blockIdx.x; t < a.tiles(); t += gridDim.x) {
    int32_t before = 0, total = 0;  // tokens of this thread's digit: in the tiles before, in all
    for (int64_t other = 0; other < a.tiles(); ++other) {
      const int32_t count = a.counts[other * kDigits + threadIdx.x];
      if (other < t) before += count;
      total += count;
    }
    int32_t place = sum_before(total) + before;
    const int tokens = tile.load(a, t);
    for (int i = 0; i < tokens; ++i)
      if (tile.digits[i] == static_cast<int>(threadIdx.x)) a.to[place++] = tile.tokens[i];
    __syncthreads();  // before the tile is loaded again
  }
}

// The tokens of row `key` from `at` on, as many as a team has threads at most, into `tokens`; how many.
template <class TeamOf>
__device__ int gather_tokens(const Keys& keys, const int32_t* order, int64_t T, int64_t at, int64_t key,
                             int32_t* tokens) {
  const int64_t i = at + TeamOf::thread();
  const bool is_same = i < T && keys(order[i]) == key;
  TeamOf::sync();  // tokens gathered before have been read
  tokens[TeamOf::thread()] = is_same ? order[i] : -1;
  TeamOf::sync();
  int count = 0;
  for (int step = TeamOf::kSize; step > 0; step /= 2)  // they are a prefix
    if (count + step <= TeamOf::kSize && tokens[count + step - 1] >= 0) count += step;
  return count;
}

template <class T, int N, class TeamOf>
__global__ void __launch_bounds__(kBlock) add_tokens(EmbeddingBackwardArgs a, const int32_t* order) {
  __shared__ int32_t shared[TeamOf::kTeams][TeamOf::kSize];
  int32_t* tokens = shared[TeamOf::index()];
  const Keys keys{a.ids, a.first, a.V};
  for (int64_t p = TeamOf::first_row(); p < a.T; p += TeamOf::row_stride()) {
    const int64_t key = keys(order[p]);
    if (key == a.V || (p > 0 && keys(order[p - 1]) == key)) continue;
    float* dw = static_cast<float*>(a.dw) + key * a.D;
    int64_t at = p;
    int count = 0;
    do {
      count = gather_tokens<TeamOf>(keys, order, a.T, at, key, tokens);
      for (int64_t d = TeamOf::thread() * N; d < a.D; d += TeamOf::kSize * N) {
        Values<N> sum{};
        if (a.accumulate || at > p) sum = load<N>(dw + d);
#pragma unroll 4
        for (int i = 0; i < count; ++i) {
          const Values<N> dy = load<N>(static_cast<const T*>(a.dy) + tokens[i] * a.D + d);
#pragma unroll
          for (int j = 0; j < N; ++j) sum[j] += dy[j];
        }
        store(dw + d, sum);
      }
      at += count;
    } while (count == TeamOf::kSize);
  }
}

// Sorts the tokens; where their order lies.
const int32_t* sort_tokens(exec::Cuda exec, const EmbeddingBackwardArgs& a) {
  const int64_t tiles = ceil_div(a.T, kTile);
  auto* counts = static_cast<int32_t*>(a.scratch);
  int32_t* orders[2] = {counts + tiles * kDigits, counts + tiles * kDigits + a.T};
  const int32_t* order = nullptr;
  for (int pass = 0; pass == 0 || a.V >> (pass * kDigitBits) != 0; ++pass) {
    const Digit digit{{a.ids, a.first, a.V}, order, orders[pass % 2], counts, a.T, pass * kDigitBits};
    count_digits<<<grid_of(tiles), kBlock, 0, exec.stream>>>(digit);
    place_tokens<<<grid_of(tiles), kBlock, 0, exec.stream>>>(digit);
    check_launch("embedding_backward");
    order = digit.to;
  }
  return order;
}

}  // namespace
}  // namespace cuda

using namespace cuda;

void embedding(exec::Cuda exec, const EmbeddingArgs& a) {
  if (a.T == 0 || a.D == 0) return;
  on_cuda_type(a.dtype, "embedding", [&](auto value) {
    using T = decltype(value);
    on_rows<T>(a.D, is_wide<T>(a.D, a.w, a.y), [&](auto n, auto team) {
      copy_rows<T, n, decltype(team)><<<grid_of_rows(team, a.T), kBlock, 0, exec.stream>>>(a);
      check_launch("embedding");
    });
  });
}

int64_t embedding_backward_scratch_bytes(exec::Cuda, const EmbeddingBackwardArgs& a) {
  return (ceil_div(a.T, kTile) * kDigits + 2 * a.T) * int64_t{sizeof(int32_t)};
}

void embedding_backward(exec::Cuda exec, const EmbeddingBackwardArgs& a) {
  on_cuda_type(a.dtype, "embedding_backward", [&](auto value) {
    using T = decltype(value);
    const int64_t bytes = a.V * a.D * int64_t{sizeof(float)};
    if (!a.accumulate && bytes > 0)
      check_cuda(cudaMemsetAsync(a.dw, 0, static_cast<size_t>(bytes), exec.stream), "embedding_backward: zeros");
    if (a.T == 0 || bytes == 0) return;
    const int32_t* order = sort_tokens(exec, a);
    on_rows<T>(a.D, is_wide<T>(a.D, a.dy, a.dw), [&](auto n, auto team) {
      add_tokens<T, n, decltype(team)><<<grid_of_rows(team, a.T), kBlock, 0, exec.stream>>>(a, order);
      check_launch("embedding_backward");
    });
  });
}

}  // namespace switchyard::kernels
