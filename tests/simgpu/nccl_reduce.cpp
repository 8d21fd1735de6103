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

struct TypeRow {
  ncclDataType_t type;
  size_t bytes;
  decltype(&reduce_as<float>) reduce;
};
constexpr TypeRow kTypes[] = {{ncclUint8, 1, reduce_as<uint8_t>}, {ncclBfloat16, 2, reduce_as<__nv_bfloat16, float>},
                              {ncclInt32, 4, reduce_as<int32_t>}, {ncclFloat32, 4, reduce_as<float>},
                              {ncclInt64, 8, reduce_as<int64_t>}, {ncclFloat64, 8, reduce_as<double>}};
const TypeRow* find(ncclDataType_t type) {
  return std::find_if(std::begin(kTypes), std::end(kTypes), [=](const TypeRow& row) { return row.type == type; });
}

}  // namespace

size_t bytes_of(ncclDataType_t type) { return find(type) == std::end(kTypes) ? 0 : find(type)->bytes; }

void reduce(ncclDataType_t type, ncclRedOp_t op, const std::vector<const uint8_t*>& in, size_t count, uint8_t* out) {
  find(type)->reduce(op, in, count, out);
}

}  // namespace switchyard::simgpu::nccl
