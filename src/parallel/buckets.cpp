// First the segments, then the storage, then the values.
#include "switchyard/parallel/buckets.h"

#include "switchyard/base/round_up.h"
#include "switchyard/parallel/placement.h"

#include <map>

namespace switchyard::parallel {
namespace {

constexpr int64_t kSegmentAlignment = 64;  // elements: 128 bytes in bf16, so products get aligned weights

int64_t end_of(const Bucket& bucket) {
  if (bucket.segments.empty()) return 0;
  return round_up(bucket.segments.back().offset + bucket.segments.back().count, kSegmentAlignment);
}

// One open bucket per view and group of replicas: consecutive parameters of the same group share one until it is full.
// What other groups hold does not matter, so all ranks of a group come to the same buckets.
std::vector<Bucket> plan_buckets(const nn::Parameters& parameters, const Mesh& mesh, int64_t bucket_size) {
  std::vector<Bucket> buckets;
  std::map<std::pair<nn::View, std::vector<int>>, size_t> open;
  for (nn::Parameter* parameter : parameters) {
    const Box box = local_box(*parameter, mesh);
    const comm::Group& replicas = mesh.replicas(parameter->placement);
    const auto [entry, is_new] = open.try_emplace({parameter->placement.view, replicas.ranks()}, buckets.size());
    size_t& at = entry->second;
    if (!is_new && end_of(buckets[at]) + box.numel() > bucket_size) at = buckets.size();
    if (at == buckets.size()) buckets.push_back({replicas, {}, {}, {}});
    buckets[at].segments.push_back({parameter, box, end_of(buckets[at]), box.numel(), nullptr});
  }
  return buckets;
}

Tensor view_of(const Tensor& flat, const Segment& segment) {
  return flat.slice(0, segment.offset, segment.offset + segment.count).view(segment.box.extent);
}

}  // namespace

std::vector<Bucket> make_buckets(const nn::Parameters& parameters, const Mesh& mesh, DType dtype, uint64_t seed,
                                 int64_t bucket_bytes) {
  const DType grad_dtype = accumulate_type(dtype);
  std::vector<Bucket> buckets = plan_buckets(parameters, mesh, bucket_bytes / size_of(grad_dtype));
  for (Bucket& bucket : buckets) {
    const int64_t size = round_up(end_of(bucket), kSegmentAlignment * bucket.replicas.size());
    bucket.weights = Tensor::zeros({size}, dtype, Purpose::weights);
    bucket.grads = Tensor::zeros({size}, grad_dtype, Purpose::gradients);
    for (Segment& segment : bucket.segments) {
      Tensor value = view_of(bucket.weights, segment);
      initialize(*segment.parameter, {segment.box, 0, segment.count}, seed, value);
      segment.leaf = autograd::make_leaf(value, view_of(bucket.grads, segment));
      segment.parameter->value = std::move(value);
    }
  }
  return buckets;
}

}  // namespace switchyard::parallel
