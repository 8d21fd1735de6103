// Permutation by expert. The order of rows is a stable counting sort of the choices by expert (stable_order.cuh). Both
// moves give a token to a team, a warp for narrow rows, else a block: gather reads the token's row once and writes it
// to each of its places; combine reads the rows of its choices and writes their sum. A warp holds 32 positions at a
// time, one per lane. Traffic: gather reads T and writes R rows; combine reads R and writes T rows.
#include "kernels/permute.h"

#include "kernels/cuda/stable_order.cuh"

namespace switchyard::kernels {
namespace cuda {
namespace {

constexpr int64_t kWarpBytes = 2048;  // up to so many bytes, a row is a warp's

struct Choices {
  const int32_t* ids;
  int32_t* positions;
  int K, first, size, bins;

  __device__ int bin_of(int32_t id) const {
    const int expert = id - first;
    return expert >= 0 && expert < bins * size ? expert / size : -1;
  }
  __device__ int bin(int64_t i) const {
    const int bin = bin_of(ids[i]);
    return size > 1 && i % K > 0 && bin_of(ids[i - 1]) == bin ? -1 : bin;
  }
  __device__ void place(int64_t i, int position) const { positions[i] = position; }
};

// body(position) for each choice of a token, in order. All lanes of a warp call it with the same token.
class Positions {
 public:
  __device__ Positions(const int32_t* positions, int64_t K) : positions_(positions), K_(static_cast<int>(K)) {
    take(0);
  }

  template <class Body>
  __device__ void for_each(Body&& body) {
    for (int first = 0; first < K_; first += kWarp) {
      if (K_ > kWarp) take(first);
      const int count = min(kWarp, K_ - first);
      for (int i = 0; i < count; ++i) body(__shfl_sync(kAllLanes, held_, i));
    }
  }

 private:
  __device__ void take(int first) {
    const int i = first + lane_of_warp();
    held_ = i < K_ ? positions_[i] : -1;
  }
  const int32_t* positions_;
  int K_, held_;
};

// Rows of `words` words
template <class Word, class TeamOf>
__global__ void __launch_bounds__(kBlock)
    gather(const Word* x, const int32_t* positions, Word* y, int64_t T, int64_t K, int words) {
  for (int64_t t = TeamOf::first_row(); t < T; t += TeamOf::row_stride()) {
    Positions choices(positions + t * K, K);
    for (int first = 0; first < words; first += TeamOf::kSize) {  // lanes without a word stay for the shuffles
      const int w = first + TeamOf::thread();
      const bool has_word = w < words;
      const Word word = has_word ? x[t * words + w] : Word{};
      choices.for_each([&](int row) {
        if (has_word && row >= 0) store_word(y + int64_t{row} * words + w, word);
      });
    }
  }
}

template <class T, int N, class TeamOf>
__global__ void __launch_bounds__(kBlock) combine(CombineRowsArgs a) {
  const int D = static_cast<int>(a.D);
  for (int64_t t = TeamOf::first_row(); t < a.T; t += TeamOf::row_stride()) {
    Positions choices(a.positions + t * a.K, a.K);
    for (int first = 0; first < D; first += TeamOf::kSize * N) {
      const int d = first + TeamOf::thread() * N;
      Values<N> sum{};
      choices.for_each([&](int row) {
        if (d >= D || row < 0) return;
        const Values<N> h = load<N>(static_cast<const T*>(a.h) + int64_t{row} * D + d);
#pragma unroll
        for (int j = 0; j < N; ++j) sum[j] += h[j];
      });
      if (d < D) store(static_cast<T*>(a.y) + t * D + d, sum);
    }
  }
}

template <class Word>
void launch_gather(exec::Cuda exec, const GatherRowsArgs& a) {
  const auto launch = [&](auto team) {
    gather<Word, decltype(team)><<<grid_of_rows(team, a.T), kBlock, 0, exec.stream>>>(
        static_cast<const Word*>(a.x), a.positions, static_cast<Word*>(a.y), a.T, a.K,
        static_cast<int>(a.row_bytes / int64_t{sizeof(Word)}));
    check_launch("gather_rows");
  };
  if (a.row_bytes <= kWarpBytes)
    launch(Team<kWarp>{});
  else
    launch(Team<kBlock>{});
}

Chunks chunks_of(const ExpertOrderArgs& a) { return {a.T * a.K, static_cast<int>(a.bins)}; }

}  // namespace
}  // namespace cuda

int64_t expert_order_scratch_bytes(exec::Cuda, const ExpertOrderArgs& a) { return cuda::chunks_of(a).scratch_bytes(); }

void expert_order(exec::Cuda exec, const ExpertOrderArgs& a) {
  const cuda::Choices choices{a.ids,
                              a.positions,
                              static_cast<int>(a.K),
                              static_cast<int>(a.first),
                              static_cast<int>(a.size),
                              static_cast<int>(a.bins)};
  cuda::launch_order(exec, "expert_order", choices, cuda::chunks_of(a), reinterpret_cast<int32_t*>(a.scratch),
                     a.offsets);
}

void gather_rows(exec::Cuda exec, const GatherRowsArgs& a) {
  if (a.T == 0 || a.K == 0 || a.row_bytes == 0) return;
  const auto odd =
      static_cast<uintptr_t>(a.row_bytes) | reinterpret_cast<uintptr_t>(a.x) | reinterpret_cast<uintptr_t>(a.y);
  if (odd % 16 == 0) return cuda::launch_gather<uint4>(exec, a);
  if (odd % 4 == 0) return cuda::launch_gather<uint32_t>(exec, a);
  if (odd % 2 == 0) return cuda::launch_gather<uint16_t>(exec, a);
  refuse_on_cuda("gather_rows", "rows of an odd number of bytes");
}

void combine_rows(exec::Cuda exec, const CombineRowsArgs& a) {
  if (a.T == 0 || a.D == 0) return;
  cuda::on_cuda_type(a.dtype, "combine_rows", [&](auto value) {
    using T = decltype(value);
    cuda::on_rows<T>(a.D, cuda::is_wide<T>(a.D, a.h, a.y), [&](auto n, auto team) {
      cuda::combine<T, n, decltype(team)><<<cuda::grid_of_rows(team, a.T), cuda::kBlock, 0, exec.stream>>>(a);
      cuda::check_launch("combine_rows");
    });
  });
}

}  // namespace switchyard::kernels
