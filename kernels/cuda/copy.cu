// Strided copy with conversion, and filling. A thread takes a pack of elements: 16 bytes where pointers and strides
// allow it, else one element; it finds its place by dividing its number by the extents. Copies between equal dtypes
// move words of any meaning; f32 to bf16 and back have kernels of their own, all other pairs of dtypes share one.
// Traffic: read x, write y.
#include "kernels/copy.h"

#include "kernels/copy_dims.h"
#include "kernels/cuda/vector.cuh"

#include <cuda_fp16.h>

#include <cstring>

namespace switchyard::kernels {
namespace cuda {
namespace {

constexpr int kMostDims = 6;  // after merging

struct Dims {
  int count = 0;
  CopyDim dims[kMostDims];  // outermost first

  __host__ __device__ int64_t total() const {
    int64_t product = 1;
    for (int d = 0; d < count; ++d) product *= dims[d].extent;
    return product;
  }
  struct Offsets {
    int64_t x, y;
  };
  __device__ Offsets at(int64_t i) const {
    Offsets offsets{};
#pragma unroll  // the arguments of a kernel are best read at fixed places
    for (int d = kMostDims - 1; d > 0; --d) {
      if (d >= count) continue;
      const int64_t rest = i / dims[d].extent, index = i - rest * dims[d].extent;
      offsets.x += index * dims[d].x_stride;
      offsets.y += index * dims[d].y_stride;
      i = rest;
    }
    return {offsets.x + i * dims[0].x_stride, offsets.y + i * dims[0].y_stride};
  }
};

// Packs of N adjacent elements: y pack = x pack. Strides count elements.
template <class X, class Y, int N>
__global__ void __launch_bounds__(kBlock) copy_packs(const X* x, Y* y, Dims dims, int64_t packs) {
  for (int64_t i = int64_t{blockIdx.x} * kBlock + threadIdx.x; i < packs; i += int64_t{gridDim.x} * kBlock) {
    const auto [x_at, y_at] = dims.at(i);
    if constexpr (std::is_same_v<X, Y>)
      Pack<X, N>::load(x + x_at).store(y + y_at);
    else
      store(y + y_at, load<N>(x + x_at));
  }
}

template <class V>
__device__ void store_as(void* y, int64_t i, DType dtype, V value) {
  switch (dtype) {
    case DType::f64: static_cast<double*>(y)[i] = static_cast<double>(value); return;
    case DType::f32: static_cast<float*>(y)[i] = static_cast<float>(value); return;
    case DType::bf16: static_cast<bf16*>(y)[i] = narrow<bf16>(static_cast<float>(value)); return;
    case DType::f16:
      static_cast<uint16_t*>(y)[i] = __half_as_ushort(__float2half_rn(static_cast<float>(value)));
      return;
    case DType::i64: static_cast<int64_t*>(y)[i] = static_cast<int64_t>(value); return;
    case DType::i32: static_cast<int32_t*>(y)[i] = static_cast<int32_t>(value); return;
    case DType::u8: static_cast<uint8_t*>(y)[i] = static_cast<uint8_t>(value); return;
  }
}

// Any pair of dtypes. An i64 travels as itself, all others as f64, which holds them exactly.
__global__ void __launch_bounds__(kBlock)
    convert_elements(const void* x, void* y, Dims dims, int64_t count, DType x_dtype, DType y_dtype) {
  for (int64_t i = int64_t{blockIdx.x} * kBlock + threadIdx.x; i < count; i += int64_t{gridDim.x} * kBlock) {
    const auto [x_at, y_at] = dims.at(i);
    double value = 0;
    switch (x_dtype) {
      case DType::i64: store_as(y, y_at, y_dtype, static_cast<const int64_t*>(x)[x_at]); continue;
      case DType::f64: value = static_cast<const double*>(x)[x_at]; break;
      case DType::f32: value = static_cast<const float*>(x)[x_at]; break;
      case DType::bf16: value = widen(static_cast<const bf16*>(x)[x_at]); break;
      case DType::f16: value = __half2float(__ushort_as_half(static_cast<const uint16_t*>(x)[x_at])); break;
      case DType::i32: value = static_cast<const int32_t*>(x)[x_at]; break;
      case DType::u8: value = static_cast<const uint8_t*>(x)[x_at]; break;
    }
    store_as(y, y_at, y_dtype, value);
  }
}

template <class Word>
__global__ void __launch_bounds__(kBlock) fill_words(Word* y, int64_t count, Word value, uint4 pattern, bool wide) {
  constexpr int kWords = 16 / int{sizeof(Word)};
  const int64_t thread = int64_t{blockIdx.x} * kBlock + threadIdx.x, threads = int64_t{gridDim.x} * kBlock;
  const int64_t packs = wide ? count / kWords : 0;
  for (int64_t i = thread; i < packs; i += threads) store_word(reinterpret_cast<uint4*>(y) + i, pattern);
  for (int64_t i = packs * kWords + thread; i < count; i += threads) y[i] = value;
}

// Whether N adjacent elements of both views are one access each.
bool has_packs(const CopyArgs& a, const std::vector<CopyDim>& dims, int64_t N) {
  const auto is_aligned = [N](const void* p, DType dtype) {
    return reinterpret_cast<uintptr_t>(p) % std::min<int64_t>(16, N * size_of(dtype)) == 0;
  };
  const CopyDim& inner = dims.back();
  if (inner.x_stride != 1 || inner.y_stride != 1 || inner.extent % N != 0) return false;
  for (size_t d = 0; d + 1 < dims.size(); ++d)
    if (dims[d].x_stride % N != 0 || dims[d].y_stride % N != 0) return false;
  return is_aligned(a.x, a.x_dtype) && is_aligned(a.y, a.y_dtype);
}

// The dims of packs of N elements, with strides in units of `unit` elements.
Dims dims_of(const std::vector<CopyDim>& dims, int64_t N, int64_t unit) {
  if (dims.size() > kMostDims) refuse_on_cuda("copy", "more than 6 dimensions that are not adjacent in memory");
  Dims result;
  for (const CopyDim& dim : dims) result.dims[result.count++] = {dim.extent, dim.x_stride / unit, dim.y_stride / unit};
  CopyDim& inner = result.dims[result.count - 1];
  inner.extent /= N;
  if (N > 1) inner.x_stride = inner.y_stride = N / unit;
  return result;
}

template <class X, class Y, int N>
void launch_packs(exec::Cuda exec, const CopyArgs& a, const Dims& dims) {
  const int64_t packs = dims.total();
  copy_packs<X, Y, N><<<grid_of(ceil_div(packs, kBlock)), kBlock, 0, exec.stream>>>(static_cast<const X*>(a.x),
                                                                                    static_cast<Y*>(a.y), dims, packs);
  check_launch("copy");
}

void copy_same(exec::Cuda exec, const CopyArgs& a, const std::vector<CopyDim>& dims) {
  const int64_t element = size_of(a.x_dtype);
  int64_t bytes = 16;  // of a word
  while (bytes > element && !has_packs(a, dims, bytes / element)) bytes /= 2;
  const Dims words = dims_of(dims, bytes / element, bytes / element);
  switch (bytes) {
    case 16: return launch_packs<uint4, uint4, 1>(exec, a, words);
    case 8: return launch_packs<uint2, uint2, 1>(exec, a, words);
    case 4: return launch_packs<uint32_t, uint32_t, 1>(exec, a, words);
    case 2: return launch_packs<uint16_t, uint16_t, 1>(exec, a, words);
    default: return launch_packs<uint8_t, uint8_t, 1>(exec, a, words);
  }
}

template <class X, class Y>
void convert_floats(exec::Cuda exec, const CopyArgs& a, const std::vector<CopyDim>& dims) {
  constexpr int N = kWide<float>;  // with more, neighbours' f32 would be 32 bytes apart: half of each sector
  if (has_packs(a, dims, N))
    launch_packs<X, Y, N>(exec, a, dims_of(dims, N, 1));
  else
    launch_packs<X, Y, 1>(exec, a, dims_of(dims, 1, 1));
}

template <class Word>
void launch_fill(exec::Cuda exec, void* y, int64_t count, uint64_t bits) {
  Word word, words[16 / sizeof(Word)];
  std::memcpy(&word, &bits, sizeof(word));
  std::fill(std::begin(words), std::end(words), word);
  uint4 pattern;
  std::memcpy(&pattern, words, sizeof(pattern));
  const bool wide = reinterpret_cast<uintptr_t>(y) % 16 == 0;
  const int64_t stores = wide ? ceil_div(count, 16 / sizeof(Word)) : count;
  fill_words<<<grid_of(ceil_div(stores, kBlock)), kBlock, 0, exec.stream>>>(static_cast<Word*>(y), count, word, pattern,
                                                                            wide);
  check_launch("fill");
}

// The bits of `value` in `dtype`, in the low bytes.
uint64_t bits_of(double value, DType dtype) {
  uint64_t bits = 0;
  const auto take = [&bits](auto converted) { std::memcpy(&bits, &converted, sizeof(converted)); };
  switch (dtype) {
    case DType::f64: take(value); break;
    case DType::f32: take(static_cast<float>(value)); break;
    case DType::bf16: take(bf16(static_cast<float>(value))); break;
    case DType::f16: take(f16(static_cast<float>(value))); break;
    case DType::i64: take(static_cast<int64_t>(value)); break;
    case DType::i32: take(static_cast<int32_t>(value)); break;
    case DType::u8: take(static_cast<uint8_t>(value)); break;
  }
  return bits;
}

}  // namespace
}  // namespace cuda

void copy(exec::Cuda exec, const CopyArgs& a) {
  for (const int64_t extent : a.shape)
    if (extent == 0) return;
  const std::vector<CopyDim> dims = merged_dims(a);
  if (a.x_dtype == a.y_dtype) return cuda::copy_same(exec, a, dims);
  if (a.x_dtype == DType::f32 && a.y_dtype == DType::bf16) return cuda::convert_floats<float, bf16>(exec, a, dims);
  if (a.x_dtype == DType::bf16 && a.y_dtype == DType::f32) return cuda::convert_floats<bf16, float>(exec, a, dims);
  const cuda::Dims elements = cuda::dims_of(dims, 1, 1);
  const int64_t count = elements.total();
  cuda::convert_elements<<<cuda::grid_of(cuda::ceil_div(count, cuda::kBlock)), cuda::kBlock, 0, exec.stream>>>(
      a.x, a.y, elements, count, a.x_dtype, a.y_dtype);
  cuda::check_launch("copy");
}

void fill(exec::Cuda exec, void* y, int64_t count, DType dtype, double value) {
  if (count == 0) return;
  const uint64_t bits = cuda::bits_of(value, dtype);
  switch (size_of(dtype)) {
    case 8: return cuda::launch_fill<uint64_t>(exec, y, count, bits);
    case 4: return cuda::launch_fill<uint32_t>(exec, y, count, bits);
    case 2: return cuda::launch_fill<uint16_t>(exec, y, count, bits);
    default: return cuda::launch_fill<uint8_t>(exec, y, count, bits);
  }
}

}  // namespace switchyard::kernels
