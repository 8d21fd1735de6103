// Elements in packs of N: one access of 16 bytes where pointers and rows allow it (N > 1), or one element (N = 1).
// Arithmetic is in f32.
#pragma once

#include "kernels/cuda/launch.cuh"

#include <cuda_bf16.h>

namespace switchyard::kernels::cuda {

template <class T>
constexpr int kWide = 16 / int{sizeof(T)};  // elements of a 16-byte access

__device__ inline float widen(float x) { return x; }
__device__ inline float widen(bf16 x) { return __uint_as_float(static_cast<uint32_t>(x.bits) << 16); }
template <class T>
__device__ inline T narrow(float x) {
  if constexpr (std::is_same_v<T, float>) {
    return x;
  } else {
    bf16 y;
    y.bits = __bfloat16_as_ushort(__float2bfloat16_rn(x));
    return y;
  }
}

// The unsigned integer that is moved in one access.
template <int kBytes>
struct WordOf;
template <>
struct WordOf<1> {
  using type = uint8_t;
};
template <>
struct WordOf<2> {
  using type = uint16_t;
};
template <>
struct WordOf<4> {
  using type = uint32_t;
};
template <>
struct WordOf<8> {
  using type = uint2;
};
template <>
struct WordOf<16> {
  using type = uint4;
};

// A word to device memory, in one access. A plain assignment of 16 bytes may be compiled to four stores of 4 bytes,
// each of which writes every sector that the warp touches.
template <class Word>
__device__ void store_word(Word* p, const Word& word) {
  __stwb(p, word);
}

// N elements as they are stored.
template <class T, int N>
struct Pack {
  static constexpr int kBytes = N * int{sizeof(T)};
  static constexpr int kWordBytes = kBytes < 16 ? kBytes : 16;
  using Word = typename WordOf<kWordBytes>::type;
  Word words[kBytes / kWordBytes];

  __device__ static Pack load(const T* p) {
    Pack pack;
#pragma unroll
    for (int i = 0; i < kBytes / kWordBytes; ++i) pack.words[i] = reinterpret_cast<const Word*>(p)[i];
    return pack;
  }
  __device__ void store(T* p) const {  // to device memory
#pragma unroll
    for (int i = 0; i < kBytes / kWordBytes; ++i) store_word(reinterpret_cast<Word*>(p) + i, words[i]);
  }
  __device__ void put(T* p) const {  // into shared memory
#pragma unroll
    for (int i = 0; i < kBytes / kWordBytes; ++i) reinterpret_cast<Word*>(p)[i] = words[i];
  }
};

// N elements in f32.
template <int N>
struct Values {
  float at[N];

  __device__ float& operator[](int i) { return at[i]; }
  __device__ float operator[](int i) const { return at[i]; }
};

template <class T, int N>
__device__ Values<N> unpack(const Pack<T, N>& pack) {
  Values<N> values;
  T elements[N];
  memcpy(elements, &pack, sizeof(pack));
#pragma unroll
  for (int i = 0; i < N; ++i) values[i] = widen(elements[i]);
  return values;
}
template <class T, int N>
__device__ Pack<T, N> pack(const Values<N>& values) {
  Pack<T, N> result;
  T elements[N];
#pragma unroll
  for (int i = 0; i < N; ++i) elements[i] = narrow<T>(values[i]);
  memcpy(&result, elements, sizeof(result));
  return result;
}

template <int N, class T>
__device__ Values<N> load(const T* p) {
  return unpack(Pack<T, N>::load(p));
}
template <int N, class T>
__device__ void store(T* p, const Values<N>& values) {
  pack<T>(values).store(p);
}
template <int N, class T>
__device__ void put(T* p, const Values<N>& values) {
  pack<T>(values).put(p);
}

// Whether rows of `columns` elements at these pointers are made of 16-byte words. A null pointer is not used.
template <class T, class... Pointers>
bool is_wide(int64_t columns, const Pointers*... pointers) {
  return columns % kWide<T> == 0 && ((reinterpret_cast<uintptr_t>(pointers) % 16 == 0) && ...);
}

// body(N) with N elements per access, as an integral constant
template <class T, class Body>
void on_width(bool wide, Body&& body) {
  if (wide)
    body(std::integral_constant<int, kWide<T>>{});
  else
    body(std::integral_constant<int, 1>{});
}

// Four neighbours in one access where the address allows, else the first `count` of them.
template <class T>
__device__ inline void store_four(T* to, const Values<4>& values, int64_t count, bool is_aligned) {
  if (is_aligned && count > 0) {
    store(to, values);
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i)
    if (i < count) to[i] = narrow<T>(values[i]);
}
// Whether rows of `width` elements are made of such fours.
template <class T>
bool has_rows_of_four(const void* data, int64_t width) {
  return reinterpret_cast<uintptr_t>(data) % (4 * sizeof(T)) == 0 && width % 4 == 0;
}

}  // namespace switchyard::kernels::cuda
