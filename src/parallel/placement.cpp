// Boxes and initial values.
#include "switchyard/parallel/placement.h"

#include "switchyard/base/threads.h"
#include "switchyard/tensor/random.h"

#include <cmath>

namespace switchyard::parallel {
namespace {

// Row-major index in the global tensor of element `i` of the box.
int64_t global_index(const Shape& shape, const Box& box, int64_t i) {
  int64_t index = 0, stride = 1;
  for (size_t d = shape.size(); d-- > 0;) {
    index += (box.offset[d] + i % box.extent[d]) * stride;
    i /= box.extent[d];
    stride *= shape[d];
  }
  return index;
}

// Normal within two standard deviations: draws again, from a far part of the stream, until it is.
double truncated_normal(const Random& random, uint64_t index) {
  for (uint64_t attempt = 0;; ++attempt) {
    const double x = random.normal(index + (attempt << 48));
    if (std::abs(x) <= 2) return x;
  }
}

}  // namespace

Box local_box(const nn::Parameter& parameter, const Mesh& mesh) {
  Box box = Box::whole(parameter.global_shape);
  for (const nn::Shard& shard : parameter.placement.shards) {
    const auto d = static_cast<size_t>(shard.dim);
    const Mesh::Part part = mesh.part(parameter.placement, shard);
    require(shard.is_uneven || box.extent[d] % part.count == 0, ExitCode::usage,
            "{}: {} rows cannot be split into {} parts over axis {}", parameter.name, box.extent[d], part.count,
            shard.axis);
    const Span rows = span_of(box.extent[d], part.index, part.count);
    box.offset[d] = rows.begin;
    box.extent[d] = rows.size();
  }
  return box;
}

void initialize(const nn::Parameter& parameter, const Slice& slice, uint64_t seed, Tensor& value) {
  check(value.is_contiguous() && value.numel() == slice.numel(), "{}: {} elements for a slice of {}", parameter.name,
        value.numel(), slice.numel());
  const nn::Init& init = parameter.init;
  if (init.kind == nn::InitKind::ones || init.kind == nn::InitKind::zeros)
    return value.fill(init.kind == nn::InitKind::ones ? 1.0 : 0.0);
  if (value.device() != Device::cpu) {
    Tensor drawn = value.to(Device::cpu);
    initialize(parameter, slice, seed, drawn);
    return value.copy_from(drawn);
  }
  const Random random(seed, "init/" + parameter.name);
  on_floating(value.dtype(), [&](auto t) {
    using T = decltype(t);
    T* out = value.host<T>();
    parallel_for(value.numel(), 1 << 12, [&](int64_t i) {
      const auto index = static_cast<uint64_t>(global_index(parameter.global_shape, slice.box, slice.begin + i));
      const double x = init.kind == nn::InitKind::normal ? random.normal(index) : truncated_normal(random, index);
      out[i] = T(static_cast<float>(x * init.std));
    });
  });
}

}  // namespace switchyard::parallel
