// Normalisation of rows, forward and backward.                         T rows, D columns
// A team (a warp up to 512 columns, else a block) handles a row: it reads the row once and keeps it in shared memory
// for the passes that follow; each thread finds there what it put there. The weight is staged once per block, for 16
// rows or more. Rows that do not fit are read again. Backward: a block takes a chunk of consecutive rows and sums the
// weight's gradient over them in order; the chunks' sums are added by column_sums. Traffic: forward reads x and writes
// y; backward reads dy and x and writes dx; per chunk of 48 rows or more the weight is read and a row of partial sums
// is written and read.
#include "kernels/norm.h"

#include "kernels/cuda/column_sums.cuh"

namespace switchyard::kernels {
namespace cuda {
namespace {

// Partial sums of both parameters in f32 are four rows of bf16: a twelfth of the dx of so many rows.
constexpr int64_t kNormChunkRows = 48;
constexpr int64_t norm_chunks(int64_t T) { return std::clamp<int64_t>(T / kNormChunkRows, 1, kMostChunks); }

// Copies a row of D elements to shared memory; the whole block takes part.
template <int N, class T>
__device__ void stage(const T* row, T* shared, int D) {
  for (int d = static_cast<int>(threadIdx.x) * N; d < D; d += kBlock * N) Pack<T, N>::load(row + d).put(shared + d);
}

template <class T, int N, class TeamOf, bool kCentred>
__global__ void __launch_bounds__(kBlock, 1) norm_forward(NormArgs a, bool is_cached) {
  extern __shared__ uint4 shared[];
  const int D = static_cast<int>(a.D);
  const T *w = static_cast<const T*>(a.w), *b = static_cast<const T*>(a.b);
  T* kept = reinterpret_cast<T*>(shared) + TeamOf::index() * D;  // this team's row
  if (is_cached) {
    T* parameters = reinterpret_cast<T*>(shared) + TeamOf::kTeams * D;
    stage<N>(w, parameters, D);
    w = parameters;
    if constexpr (kCentred) {
      stage<N>(b, parameters + D, D);
      b = parameters + D;
    }
    __syncthreads();
  }
  for (int64_t t = TeamOf::first_row(); t < a.T; t += TeamOf::row_stride()) {
    const T* x = static_cast<const T*>(a.x) + t * D;
    float sum = 0;
#pragma unroll 4
    for (int d = TeamOf::thread() * N; d < D; d += TeamOf::kSize * N) {
      const auto pack = Pack<T, N>::load(x + d);
      if (is_cached) pack.put(kept + d);
      const Values<N> v = unpack(pack);
#pragma unroll
      for (int j = 0; j < N; ++j) sum += kCentred ? v[j] : v[j] * v[j];
    }
    sum = TeamOf::sum(sum);
    const T* again = is_cached ? kept : x;
    float mean = 0;
    if constexpr (kCentred) {
      mean = sum / static_cast<float>(D);
      sum = 0;
      for (int d = TeamOf::thread() * N; d < D; d += TeamOf::kSize * N) {
        const Values<N> v = load<N>(again + d);
#pragma unroll
        for (int j = 0; j < N; ++j) sum += (v[j] - mean) * (v[j] - mean);
      }
      sum = TeamOf::sum(sum);
    }
    const float rstd = 1.0f / sqrtf(sum / static_cast<float>(D) + static_cast<float>(a.eps));
    for (int d = TeamOf::thread() * N; d < D; d += TeamOf::kSize * N) {
      Values<N> v = load<N>(again + d);
      const Values<N> weight = load<N>(w + d);
      if constexpr (kCentred) {
        const Values<N> bias = load<N>(b + d);
#pragma unroll
        for (int j = 0; j < N; ++j) v[j] = (v[j] - mean) * rstd * weight[j] + bias[j];
      } else {
#pragma unroll
        for (int j = 0; j < N; ++j) v[j] = v[j] * rstd * weight[j];
      }
      store(static_cast<T*>(a.y) + t * D + d, v);
    }
    if (TeamOf::thread() == 0) {
      static_cast<float*>(a.rstd)[t] = rstd;
      if constexpr (kCentred) static_cast<float*>(a.mean)[t] = mean;
    }
  }
}

// Shared memory of the backward kernel: rows of x and dy per team, w, and the sums for dw and db per team.
template <class T, class TeamOf>
int64_t backward_bytes(int64_t D, int sums) {
  return (2 * TeamOf::kTeams + 1) * D * int64_t{sizeof(T)} + TeamOf::kTeams * sums * D * int64_t{sizeof(float)};
}

// With g = dy * w and n = (x - mean) * rstd:  dx = rstd * (g - mean(g) - n * mean(g * n)); mean(g) is left out for rms.
// Sums: of dy * n and, centred, of dy, over the rows of a chunk; the teams of a block take turns and are added in
// order.
template <class T, int N, class TeamOf, bool kCentred>
__global__ void __launch_bounds__(kBlock, 1) norm_backward(NormBackwardArgs a, int64_t chunks, bool is_cached) {
  extern __shared__ uint4 shared[];
  constexpr int kTeams = TeamOf::kTeams, kSums = kCentred ? 2 : 1;
  constexpr int kStep = TeamOf::kSize * N;
  const int D = static_cast<int>(a.D), first = TeamOf::thread() * N;
  float* part = static_cast<float*>(a.scratch);         // (chunks, D) of dw, then of db
  float* team_sums = reinterpret_cast<float*>(shared);  // (teams, sums, D)
  T* rows = reinterpret_cast<T*>(team_sums + kTeams * kSums * D);
  T *kept_x = rows + TeamOf::index() * 2 * D, *kept_dy = kept_x + D;
  const T* w = static_cast<const T*>(a.w);
  if (is_cached) {
    stage<N>(w, rows + kTeams * 2 * D, D);
    w = rows + kTeams * 2 * D;
    __syncthreads();
  }
  const auto keep = [is_cached](float* to, const Values<N>& sums) { is_cached ? put(to, sums) : store(to, sums); };
  for (int64_t chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
    // Rows that are not cached have one team, which adds in place.
    float* dw = is_cached ? team_sums + TeamOf::index() * kSums * D : part + chunk * D;
    float* db = is_cached ? dw + D : part + (chunks + chunk) * D;
    for (int d = first; d < D; d += kStep) {
      keep(dw + d, Values<N>{});
      if constexpr (kCentred) keep(db + d, Values<N>{});
    }
    const int64_t end = a.T * (chunk + 1) / chunks;
    for (int64_t t = a.T * chunk / chunks + TeamOf::index(); t < end; t += kTeams) {
      const T *x = static_cast<const T*>(a.x) + t * D, *dy = static_cast<const T*>(a.dy) + t * D;
      const float mean = kCentred ? static_cast<const float*>(a.mean)[t] : 0.0f;
      const float rstd = static_cast<const float*>(a.rstd)[t];
      float sum_g = 0, sum_gn = 0;
#pragma unroll 1
      for (int d = first; d < D; d += kStep) {
        const auto x_pack = Pack<T, N>::load(x + d), dy_pack = Pack<T, N>::load(dy + d);
        if (is_cached) {
          x_pack.put(kept_x + d);
          dy_pack.put(kept_dy + d);
        }
        const Values<N> xs = unpack(x_pack), dys = unpack(dy_pack), ws = load<N>(w + d);
        Values<N> sums = load<N>(dw + d);
#pragma unroll
        for (int j = 0; j < N; ++j) {
          const float g = dys[j] * ws[j], n = (xs[j] - mean) * rstd;
          sum_g += g;
          sum_gn += g * n;
          sums[j] += dys[j] * n;
        }
        keep(dw + d, sums);
        if constexpr (kCentred) {
          sums = load<N>(db + d);
#pragma unroll
          for (int j = 0; j < N; ++j) sums[j] += dys[j];
          keep(db + d, sums);
        }
      }
      if (!a.dx) continue;
      const float mean_g = kCentred ? TeamOf::sum(sum_g) / static_cast<float>(D) : 0.0f;
      const float mean_gn = TeamOf::sum(sum_gn) / static_cast<float>(D);
      const T *x_again = is_cached ? kept_x : x, *dy_again = is_cached ? kept_dy : dy;
      for (int d = first; d < D; d += kStep) {
        Values<N> xs = load<N>(x_again + d);
        const Values<N> dys = load<N>(dy_again + d), ws = load<N>(w + d);
#pragma unroll
        for (int j = 0; j < N; ++j) xs[j] = rstd * (dys[j] * ws[j] - mean_g - (xs[j] - mean) * rstd * mean_gn);
        store(static_cast<T*>(a.dx) + t * D + d, xs);
      }
    }
    if (!is_cached) continue;
    __syncthreads();  // all teams have their sums
    for (int d = static_cast<int>(threadIdx.x); d < kSums * D; d += kBlock) {
      float sum = team_sums[d];
      for (int team = 1; team < kTeams; ++team) sum += team_sums[team * kSums * D + d];
      part[d < D ? chunk * D + d : (chunks + chunk) * D + d - D] = sum;
    }
    __syncthreads();  // before the next chunk clears them
  }
}

template <bool kCentred>
void launch_forward(exec::Cuda exec, const NormArgs& a, const char* name) {
  if (a.T == 0 || a.D == 0) return;
  on_cuda_type(a.dtype, name, [&](auto value) {
    using T = decltype(value);
    on_rows<T>(a.D, is_wide<T>(a.D, a.x, a.w, a.b, a.y), [&](auto n, auto team) {
      using TeamOf = decltype(team);
      const int64_t bytes = (TeamOf::kTeams + (kCentred ? 2 : 1)) * a.D * int64_t{sizeof(T)};
      const bool is_cached = bytes <= kMostShared;
      const auto kernel = norm_forward<T, n, TeamOf, kCentred>;
      if (is_cached) allow_shared(kernel, bytes);
      const unsigned blocks = is_cached ? grid_of_staged_rows(a.T) : grid_of_rows(team, a.T);
      kernel<<<blocks, kBlock, is_cached ? bytes : 0, exec.stream>>>(a, is_cached);
      check_launch(name);
    });
  });
}

template <bool kCentred>
void launch_backward(exec::Cuda exec, const NormBackwardArgs& a, const char* name) {
  if (a.D == 0) return;
  const int64_t chunks = norm_chunks(a.T);
  on_cuda_type(a.dtype, name, [&](auto value) {
    using T = decltype(value);
    on_rows<T>(a.D, is_wide<T>(a.D, a.dy, a.x, a.w, a.dx, a.scratch), [&](auto n, auto team) {
      using TeamOf = decltype(team);
      const int64_t bytes = backward_bytes<T, TeamOf>(a.D, kCentred ? 2 : 1);
      const bool is_cached = bytes <= kMostShared;
      const auto kernel = norm_backward<T, n, TeamOf, kCentred>;
      if (is_cached) allow_shared(kernel, bytes);
      kernel<<<grid_of(chunks), kBlock, is_cached ? bytes : 0, exec.stream>>>(a, chunks, is_cached);
      check_launch(name);
    });
  });
  const auto* parts = static_cast<const float*>(a.scratch);
  if (a.dw) launch_column_sums(exec.stream, parts, static_cast<float*>(a.dw), chunks, a.D, 1, a.accumulate_dw);
  if (a.db)
    launch_column_sums(exec.stream, parts + chunks * a.D, static_cast<float*>(a.db), chunks, a.D, 1, a.accumulate_db);
}

}  // namespace
}  // namespace cuda

void rms_norm(exec::Cuda exec, const NormArgs& a) { cuda::launch_forward<false>(exec, a, "rms_norm"); }
void layer_norm(exec::Cuda exec, const NormArgs& a) { cuda::launch_forward<true>(exec, a, "layer_norm"); }

int64_t norm_backward_scratch_bytes(exec::Cuda, const NormBackwardArgs& a) {
  return cuda::norm_chunks(a.T) * 2 * a.D * int64_t{sizeof(float)};
}
void rms_norm_backward(exec::Cuda exec, const NormBackwardArgs& a) {
  cuda::launch_backward<false>(exec, a, "rms_norm_backward");
}
void layer_norm_backward(exec::Cuda exec, const NormBackwardArgs& a) {
  cuda::launch_backward<true>(exec, a, "layer_norm_backward");
}

}  // namespace switchyard::kernels
