// Stable counting sort in three launches: items are put in order of their bin, equal bins in order of their number.
//   1. a block counts the bins of a chunk of consecutive items    (integer sums, whose order does not matter)
//   2. one block scans: what of a bin lies in earlier chunks, and where each bin begins
//   3. a block ranks its chunk's items, 256 at a time: earlier lanes of the warp, earlier warps, earlier rounds
// Chunks depend on the number of items alone. Items is a type with  int bin(int64_t i) const, -1 for an item that has
// none, and  void place(int64_t i, int position) const.     Traffic: the items twice, and small tables.
#pragma once

#include "kernels/cuda/reduce.cuh"

namespace switchyard::kernels::cuda {

constexpr int kMostBins = 1024;
constexpr int64_t kLeastChunk = 1024;  // items
constexpr int64_t kMostOrderChunks = 128;
constexpr int kOrderWarps = kBlock / kWarp;

struct Chunks {
  int64_t items, size, count;
  int bins;

  Chunks(int64_t items_, int bins_)
      : items(items_),
        size(std::max(kLeastChunk, ceil_div(ceil_div(items_, kMostOrderChunks), kBlock) * kBlock)),
        count(std::max<int64_t>(1, ceil_div(items_, size))),
        bins(bins_) {}
  int64_t scratch_bytes() const { return count * bins * int64_t{sizeof(int32_t)}; }
};

// counts (chunks, bins)
template <class Items>
__global__ void __launch_bounds__(kBlock) count_bins(Items items, Chunks chunks, int32_t* counts) {
  extern __shared__ int32_t bins[];
  for (int64_t chunk = blockIdx.x; chunk < chunks.count; chunk += gridDim.x) {
    for (int b = static_cast<int>(threadIdx.x); b < chunks.bins; b += kBlock) bins[b] = 0;
    __syncthreads();
    const int64_t begin = chunk * chunks.size, end = min(chunks.items, begin + chunks.size);
    for (int64_t i = begin + threadIdx.x; i < end; i += kBlock) {
      const int bin = items.bin(i);
      if (bin >= 0) atomicAdd(&bins[bin], 1);
    }
    __syncthreads();
    for (int b = static_cast<int>(threadIdx.x); b < chunks.bins; b += kBlock) counts[chunk * chunks.bins + b] = bins[b];
    __syncthreads();
  }
}

// counts: from the number in a chunk to the number in chunks before it. offsets (bins + 1): items of bins before.
static __global__ void __launch_bounds__(kBlock) scan_bins(Chunks chunks, int32_t* counts, int64_t* offsets) {
  extern __shared__ int32_t totals[];
  for (int b = static_cast<int>(threadIdx.x); b < chunks.bins; b += kBlock) {
    int32_t before = 0;
#pragma unroll 4
    for (int64_t chunk = 0; chunk < chunks.count; ++chunk) {
      const int32_t count = counts[chunk * chunks.bins + b];
      counts[chunk * chunks.bins + b] = before;
      before += count;
    }
    totals[b] = before;
  }
  __syncthreads();
  if (warp_of_block() != 0) return;
  int64_t carried = 0;
  for (int first = 0; first < chunks.bins; first += kWarp) {
    const int b = first + lane_of_warp();
    const int32_t own = b < chunks.bins ? totals[b] : 0;
    int32_t sum = own;
#pragma unroll
    for (int offset = 1; offset < kWarp; offset *= 2) {
      const int32_t lower = __shfl_up_sync(kAllLanes, sum, offset);
      if (lane_of_warp() >= offset) sum += lower;
    }
    if (b < chunks.bins) offsets[b] = carried + sum - own;
    carried += __shfl_sync(kAllLanes, sum, kWarp - 1);
  }
  if (lane_of_warp() == 0) offsets[chunks.bins] = carried;
}

// The lanes whose bin is this lane's; bits: of the largest bin, which -1 has all set
__device__ inline unsigned lanes_of_bin(int bin, int bits) {
  unsigned peers = __ballot_sync(kAllLanes, bin >= 0);
  if (bin < 0) peers = ~peers;
  for (int b = 0; b < bits; ++b) {
    const bool is_set = bin >> b & 1;
    const unsigned set = __ballot_sync(kAllLanes, is_set);
    peers &= is_set ? set : ~set;
  }
  return peers;
}

template <class Items>
__global__ void __launch_bounds__(kBlock)
    rank_items(Items items, Chunks chunks, int bits, const int32_t* counts, const int64_t* offsets) {
  extern __shared__ int32_t next[];        // (bins) position of a bin's next item
  int32_t* of_warps = next + chunks.bins;  // (warps, bins) of this round; zero between rounds
  int32_t* own = of_warps + warp_of_block() * chunks.bins;
  for (int b = static_cast<int>(threadIdx.x); b < kOrderWarps * chunks.bins; b += kBlock) of_warps[b] = 0;
  for (int64_t chunk = blockIdx.x; chunk < chunks.count; chunk += gridDim.x) {
    for (int b = static_cast<int>(threadIdx.x); b < chunks.bins; b += kBlock)
      next[b] = static_cast<int32_t>(offsets[b]) + counts[chunk * chunks.bins + b];
    __syncthreads();
    const int64_t begin = chunk * chunks.size, end = min(chunks.items, begin + chunks.size);
    for (int64_t round = begin; round < end; round += kBlock) {
      const int64_t i = round + threadIdx.x;
      const int bin = i < end ? items.bin(i) : -1;
      const unsigned peers = lanes_of_bin(bin, bits);
      const int rank = __popc(peers & ((1u << lane_of_warp()) - 1));
      const bool leads = bin >= 0 && rank == 0;
      if (leads) own[bin] = __popc(peers);
      __syncthreads();
      int position = -1;
      if (bin >= 0) {
        position = next[bin] + rank;
        for (int w = 0; w < warp_of_block(); ++w) position += of_warps[w * chunks.bins + bin];
      }
      if (i < end) items.place(i, position);
      __syncthreads();
      if (leads) {
        atomicAdd(&next[bin], own[bin]);
        own[bin] = 0;
      }
      __syncthreads();
    }
  }
}

// scratch: chunks.scratch_bytes(); offsets (bins + 1) on the device
template <class Items>
void launch_order(exec::Cuda exec, const char* name, const Items& items, const Chunks& chunks, int32_t* scratch,
                  int64_t* offsets) {
  if (chunks.bins > kMostBins) refuse_on_cuda(name, "more than 1024 bins");
  int bits = 0;
  while ((1 << bits) < chunks.bins) ++bits;
  const unsigned grid = grid_of(chunks.count);
  const size_t table = static_cast<size_t>(chunks.bins) * sizeof(int32_t);
  count_bins<<<grid, kBlock, table, exec.stream>>>(items, chunks, scratch);
  check_launch(name);
  scan_bins<<<1, kBlock, table, exec.stream>>>(chunks, scratch, offsets);
  check_launch(name);
  rank_items<<<grid, kBlock, (1 + kOrderWarps) * table, exec.stream>>>(items, chunks, bits, scratch, offsets);
  check_launch(name);
}

}  // namespace switchyard::kernels::cuda
