// Reductions in rank order, so that every rank gets the same bits: in the element's own arithmetic, bf16 in f32 and
// rounded once. (NCCL itself may round bf16 at each hop.)
#include "tests/simgpu/nccl_exchange.h"

#include <cuda_bf16.h>

#include <algorithm>
#include <cmath>
#include <type_traits>

namespace switchyard::simgpu::nccl {
namespace {

float widen(__nv_bfloat16 value) { return __bfloat162float(value); }
template <class T>
T widen(T value) {
  return value;
}

template <class T>
T narrow(std::conditional_t<std::is_same_v<T, __nv_bfloat16>, float, T> value) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>)
    return __float2bfloat16_rn(value);
  else
    return value;
}

template <class T>
T combine(ncclRedOp_t op, T a, T b) {
  if (op == ncclSum) return static_cast<T>(a + b);
  if constexpr (std::is_floating_point_v<T>) return op == ncclMax ? std::fmax(a, b) : std::fmin(a, b);
  return op == ncclMax ? std::max(a, b) : std::min(a, b);
}

template <class T>
void reduce_as(ncclRedOp_t op, const std::vector<const uint8_t*>& in, size_t count, uint8_t* out) {
  for (size_t i = 0; i < count; ++i) {
    auto sum = widen(reinterpret_cast<const T*>(in[0])[i]);
    for (size_t rank = 1; rank < in.size(); ++rank)
      sum = combine(op, sum, widen(reinterpret_cast<const T*>(in[rank])[i]));
    reinterpret_cast<T*>(out)[i] = narrow<T>(sum);
  }
}

}  // namespace

size_t bytes_of(ncclDataType_t type) {
  switch (type) {
    case ncclInt8:
    case ncclUint8: return 1;
    case ncclBfloat16: return 2;
    case ncclInt32:
    case ncclFloat32: return 4;
    case ncclInt64:
    case ncclFloat64: return 8;
    default: return 0;
  }
}

void reduce(ncclDataType_t type, ncclRedOp_t op, const std::vector<const uint8_t*>& in, size_t count, uint8_t* out) {
  switch (type) {
    case ncclInt8: return reduce_as<int8_t>(op, in, count, out);
    case ncclUint8: return reduce_as<uint8_t>(op, in, count, out);
    case ncclBfloat16: return reduce_as<__nv_bfloat16>(op, in, count, out);
    case ncclInt32: return reduce_as<int32_t>(op, in, count, out);
    case ncclFloat32: return reduce_as<float>(op, in, count, out);
    case ncclInt64: return reduce_as<int64_t>(op, in, count, out);
    default: return reduce_as<double>(op, in, count, out);
  }
}

}  // namespace switchyard::simgpu::nccl
