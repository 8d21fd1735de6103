// Parameters laid out flat. A bucket holds the weights and the gradients of consecutive parameters that are replicated
// on the same ranks: one reduction serves them all, and each replica owns an equal, contiguous share of the elements.
#pragma once

#include "switchyard/autograd/graph.h"
#include "switchyard/nn/layers.h"
#include "switchyard/parallel/mesh.h"

namespace switchyard::parallel {

struct Segment {
  nn::Parameter* parameter;
  Box box;                               // part of the global tensor that this rank holds; row-major in the bucket
  int64_t offset;                        // its first element, counted in the bucket
  int64_t count;                         // elements of the box
  std::shared_ptr<autograd::Leaf> leaf;  // value and gradient, of the box's extent: views of weights and grads
};

struct Bucket {
  comm::Group replicas;
  std::vector<Segment> segments;                                       // in order; gaps and the tail are zero padding
  Tensor weights;                                                      // (n) model dtype
  Tensor grads;                                                        // (n) f32, or f64 for f64
  int64_t share() const { return weights.numel() / replicas.size(); }  // elements each replica owns
  int64_t owned_begin() const { return replicas.rank() * share(); }
  int64_t owned_end() const { return owned_begin() + share(); }
};

constexpr int64_t kBucketBytes = ParallelConfig{}.bucket_bytes;

// Gives every parameter its value (initialised by `seed`) and its gradient buffer, as views of buckets. The parameters
// become leaves of the autograd graph.
std::vector<Bucket> make_buckets(const nn::Parameters& parameters, const Mesh& mesh, DType dtype, uint64_t seed,
                                 int64_t bucket_bytes = kBucketBytes);

}  // namespace switchyard::parallel
