// Top-k selection, and counting. A warp handles a token: what is compared lies in shared memory, and K + 1 rounds of a
// warp-wide maximum take the best of what is left; the last one gives the margin. Equal values: the smaller index wins.
// Lane l owns the experts l, l + 32, ...; bit j of its mask is expert 32 j + l, so the chosen ones come out in order.
// Groups are chosen in the same way first. Counts and minima meet by integer atomics, whose order does not matter.
// Traffic: logits are read once, ids and margins written.
#include "kernels/cuda/router_math.cuh"

namespace switchyard::kernels {
namespace cuda {
namespace {

struct Chosen {
  uint32_t mask;  // of this lane's experts
  float gap;      // last chosen - first that is left; infinity if nothing is left
};

// The k best of values[0, n) whose bit in `closed` is not set.
__device__ Chosen choose(const float* values, int n, int k, uint32_t closed) {
  constexpr int kNone = 0x7fffffff;
  const uint32_t closed_before = closed;
  float last = 0;
  for (int round = 0;; ++round) {
    float best = -kInfinity;
    int at = kNone;
    for_own(n, [&](int e) {
      if (closed >> (e / kWarp) & 1 || (at != kNone && !(values[e] > best))) return;
      best = values[e];
      at = e;
    });
#pragma unroll
    for (int offset = kWarp / 2; offset > 0; offset /= 2) {
      const float other = __shfl_xor_sync(kAllLanes, best, offset);
      const int other_at = __shfl_xor_sync(kAllLanes, at, offset);
      if (other > best || (other == best && other_at < at)) {
        best = other;
        at = other_at;
      }
    }
    if (round == k) return {closed & ~closed_before, at == kNone ? kInfinity : last - best};
    closed |= static_cast<uint32_t>(at % kWarp == lane_of_warp()) << (at / kWarp);
    last = best;
  }
}

bool compares_logits(const SelectExpertsArgs& a) {
  return !a.bias &&
         (!a.groups.is_limit() || (a.groups.score == GroupScore::max && a.groups.mask == GroupMask::neg_inf));
}

// Logits to what is compared, in place.
__device__ void score_row(const SelectExpertsArgs& a, float* z, int E) {
  const float largest = a.score == Score::softmax ? row_max(z, E) : 0.0f;
  const float inverse_sum = a.score == Score::softmax ? 1.0f / row_sum_exp(z, largest, E) : 1.0f;
  for_own(E, [&](int e) {
    const float score = a.score == Score::softmax ? expf(z[e] - largest) * inverse_sum : sigmoid(z[e]);
    z[e] = score + (a.bias ? a.bias[e] : 0.0f);
  });
}

__device__ float group_score(GroupScore rule, const float* values, int n) {
  float first = -kInfinity, second = first;
  for (int j = 0; j < n; ++j) {
    second = fmaxf(second, fminf(first, values[j]));
    first = fmaxf(first, values[j]);
  }
  return rule == GroupScore::max ? first : first + second;
}

// Chooses groups and masks the experts of the others: returns those that may not be chosen, and the groups' gap.
// `scores` has room for a float per group.
__device__ Chosen mask_groups(const ExpertGroups& groups, float* values, float* scores, int E) {
  const int count = static_cast<int>(groups.count), size = E / count;
  __syncwarp();  // a group's experts are other lanes'
  for_own(count, [&](int g) { scores[g] = group_score(groups.score, values + g * size, size); });
  const Chosen kept = choose(scores, count, static_cast<int>(groups.keep), 0);
  for_own(count, [&](int g) { scores[g] = kept.mask >> (g / kWarp) & 1 ? 1.0f : 0.0f; });
  __syncwarp();
  uint32_t closed = 0;
  for_own(E, [&](int e) {
    if (scores[e / size] != 0.0f) return;
    if (groups.mask == GroupMask::neg_inf)
      closed |= 1u << (e / kWarp);
    else
      values[e] = 0;
  });
  __syncwarp();  // before the next row
  return {closed, kept.gap};
}

// counts, min_margin and bad_rows are what they are without rows.
__global__ void __launch_bounds__(kBlock) clear(SelectExpertsArgs a) {
  for (int64_t e = threadIdx.x; e < a.E; e += kBlock) a.counts[e] = 0;
  if (threadIdx.x != 0) return;
  *a.min_margin = static_cast<double>(kInfinity);
  *a.bad_rows = 0;
}

__global__ void __launch_bounds__(kBlock) select(SelectExpertsArgs a, bool compares_logits) {
  extern __shared__ float rows[];  // values and group scores of each warp, then the block's counts
  const int E = static_cast<int>(a.E), K = static_cast<int>(a.K);
  float *z = rows + warp_of_block() * 2 * E, *scores = z + E;
  int* counts = reinterpret_cast<int*>(rows + kRouterWarps * 2 * E);
  for (int e = static_cast<int>(threadIdx.x); e < E; e += kBlock) counts[e] = 0;
  __syncthreads();
  double min_margin = static_cast<double>(kInfinity);
  unsigned long long bad_rows = 0;
  for (int64_t t = first_warp_row(); t < a.T; t += warp_row_stride()) {
    int32_t* ids = a.ids + t * K;
    copy_row(static_cast<const float*>(a.logits) + t * E, z, E);
    float margin = kInfinity;
    if (is_finite_row(z, E)) {
      if (!compares_logits) score_row(a, z, E);
      uint32_t closed = 0;
      if (a.groups.keep < a.groups.count) {
        const Chosen groups = mask_groups(a.groups, z, scores, E);
        closed = groups.mask;
        margin = groups.gap;
      }
      const Chosen chosen = choose(z, E, K, closed);
      margin = fminf(margin, chosen.gap);
      int before = 0;
      for (int j = 0; j * kWarp < E; ++j) {
        const bool is_chosen = chosen.mask >> j & 1;
        const unsigned lanes = __ballot_sync(kAllLanes, is_chosen);
        if (is_chosen) {
          const int e = j * kWarp + lane_of_warp();
          ids[before + __popc(lanes & ((1u << lane_of_warp()) - 1))] = e;
          atomicAdd(&counts[e], 1);
        }
        before += __popc(lanes);
      }
    } else {
      ++bad_rows;
      for_own(K, [&](int i) { ids[i] = i; });
    }
    if (lane_of_warp() == 0) a.margins[t] = static_cast<double>(margin);
    min_margin = fmin(min_margin, static_cast<double>(margin));
  }
  if (lane_of_warp() == 0) {  // margins are not negative: their bits have their order
    if (min_margin < static_cast<double>(kInfinity))
      atomicMin(reinterpret_cast<long long*>(a.min_margin), __double_as_longlong(min_margin));
    if (bad_rows) atomicAdd(reinterpret_cast<unsigned long long*>(a.bad_rows), bad_rows);
  }
  __syncthreads();
  for (int e = static_cast<int>(threadIdx.x); e < E; e += kBlock)
    if (counts[e] != 0)
      atomicAdd(reinterpret_cast<unsigned long long*>(a.counts) + e, static_cast<unsigned long long>(counts[e]));
}

constexpr int64_t kCountItems = 4096;  // ids that a block counts before it adds them up

// Blocks take chunks of a group's ids; counts are zero before.
__global__ void __launch_bounds__(kBlock) count(CountExpertsArgs a, int64_t groups, int64_t chunks) {
  extern __shared__ int of_block[];
  const int64_t group_items = a.rows * a.K;
  for (int64_t item = blockIdx.x; item < groups * chunks; item += gridDim.x) {
    for (int64_t e = threadIdx.x; e < a.E; e += kBlock) of_block[e] = 0;
    __syncthreads();
    const int64_t group = item / chunks, begin = group * group_items + item % chunks * kCountItems;
    const int64_t end = min(min(a.T * a.K, (group + 1) * group_items), begin + kCountItems);
    for (int64_t i = begin + threadIdx.x; i < end; i += kBlock) atomicAdd(&of_block[a.ids[i]], 1);
    __syncthreads();
    auto* counts = reinterpret_cast<unsigned long long*>(a.counts) + group * a.E;
    for (int64_t e = threadIdx.x; e < a.E; e += kBlock)
      if (of_block[e] != 0) atomicAdd(counts + e, static_cast<unsigned long long>(of_block[e]));
    __syncthreads();  // before they are cleared
  }
}

}  // namespace
}  // namespace cuda

int64_t select_experts_scratch_bytes(exec::Cuda, const SelectExpertsArgs&) { return 0; }

void select_experts(exec::Cuda exec, const SelectExpertsArgs& a) {
  cuda::check_router("select_experts", a.dtype, a.E);
  cuda::clear<<<1, cuda::kBlock, 0, exec.stream>>>(a);
  cuda::check_launch("select_experts");
  if (a.T == 0) return;
  const int64_t bytes = (cuda::kRouterWarps * 2 + 1) * a.E * int64_t{sizeof(float)};
  cuda::allow_shared(cuda::select, bytes);
  cuda::select<<<cuda::grid_of_warp_rows(a.T), cuda::kBlock, bytes, exec.stream>>>(a, cuda::compares_logits(a));
  cuda::check_launch("select_experts");
}

void count_experts(exec::Cuda exec, const CountExpertsArgs& a) {
  const int64_t groups = a.rows == 0 ? 0 : cuda::ceil_div(a.T, a.rows);
  if (groups == 0 || a.E == 0) return;
  if (a.E > cuda::kMostExperts) refuse_on_cuda("count_experts", "more than 1024 experts");
  cuda::set_zero(exec, a.counts, groups * a.E * int64_t{sizeof(int64_t)}, "count_experts: zeros");
  const int64_t chunks = cuda::ceil_div(std::min(a.rows, a.T) * a.K, cuda::kCountItems);
  if (chunks == 0) return;
  cuda::count<<<cuda::grid_of(groups * chunks), cuda::kBlock, static_cast<size_t>(a.E) * sizeof(int), exec.stream>>>(
      a, groups, chunks);
  cuda::check_launch("count_experts");
}

}  // namespace switchyard::kernels
