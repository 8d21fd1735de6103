// Reductions in rank order, so that every rank gets the same bits: in the element's own arithmetic, bf16 in f32 and
// rounded once. (NCCL itself may round bf16 at each hop.)
#include "tests/simgpu/nccl_exchange.h"

#include <cuda_bf16.h>

#include <algorithm>
#include <cmath>
#include <type_traits>

namespace switchyard::simgpu::nccl {
namespace {

template <class Sum>
Sum combine(ncclRedOp_t op, Sum a, Sum b) {
  if (op == ncclSum) return static_cast<Sum>(a + b);
  if constexpr (std::is_floating_point_v<Sum>) return op == ncclMax ? std::fmax(a, b) : std::fmin(a, b);
  return op == ncclMax ? std::max(a, b) : std::min(a, b);
}

template <class T, class Sum = T>
void reduce_as(ncclRedOp_t op, const std::vector<const uint8_t*>& in, size_t count, uint8_t* out) {
  const auto at = [&](size_t rank, size_t i) { return static_cast<Sum>(reinterpret_cast<const T*>(in[rank])[i]); };
  for (size_t i = 0; i < count; ++i) {
    Sum sum = at(0, i);
    for (size_t rank = 1; rank < in.size(); ++rank) sum = combine(op, sum, at(rank, i));
    reinterpret_cast<T*>(out)[i] = static_cast<T>(sum);
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
    case ncclBfloat16: return reduce_as<__nv_bfloat16, float>(op, in, count, out);
    case ncclInt32: return reduce_as<int32_t>(op, in, count, out);
    case ncclFloat32: return reduce_as<float>(op, in, count, out);
    case ncclInt64: return reduce_as<int64_t>(op, in, count, out);
    default: return reduce_as<double>(op, in, count, out);
  }
}

}  // namespace switchyard::simgpu::nccl
