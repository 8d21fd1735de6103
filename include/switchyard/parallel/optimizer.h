// AdamW over buckets, its state sharded over replicas (ZeRO stage 1, Rajbhandari et al. 2020): each replica keeps
// moments and, for bf16 weights, f32 masters of the elements it owns, updates those, and gathers everybody's weights.
#pragma once

#include "switchyard/optim/config.h"
#include "switchyard/parallel/buckets.h"
#include "switchyard/tensor/host_copy.h"

namespace switchyard::parallel {

// What this rank stores of one parameter: the slice it owns and where its state lies. Over all ranks every element of
// every parameter is in exactly one such slice.
struct OwnedSlice {
  const nn::Parameter* parameter;
  Slice slice;                         // elements [begin, end) of this rank's box of the global tensor
  Tensor master, exp_avg, exp_avg_sq;  // (slice.numel()) each, f32 or f64: views of the state
  Tensor grad;                         // alike; summed over replicas, from GradientSync::finish to the next backward
};

class ShardedAdamW {
 public:
  // `shard` false: every replica keeps all of the state (zero: 0). Masters start as the weights' initial values in f32.
  ShardedAdamW(std::vector<Bucket>& buckets, const optim::OptimizerConfig& config, bool shard, const Mesh& mesh,
               uint64_t seed);

  // What step() multiplies the summed gradients by, so that their global 2-norm over every element of the model, once,
  // is at most max_norm (0: any). Where the norm or a rank's loss_1 is not finite, step() will change nothing.
  void clip(const Tensor& loss_1, double max_norm);
  double gradient_norm() const;  // before clip, the same bits on every rank; waits for the device

  void step(double lr, int64_t t);               // t counts from 1; once for each clip
  std::vector<OwnedSlice> owned_slices() const;  // in parameter order
  void masters_changed();                        // after loading: weights from masters, on every replica

 private:
  struct State {         // of one bucket; ranges relative to `begin`
    int64_t begin, end;  // elements of the bucket that this rank updates
    Tensor master, exp_avg, exp_avg_sq;
  };
  struct RangeList {  // what a kernel is given at once, on the device
    Tensor ranges;
    int64_t num_ranges, num_chunks;
  };
  template <class Range>
  RangeList make_list(std::vector<Range> ranges) const;
  void list_ranges();
  void gather_weights();

  std::vector<Bucket>& buckets_;
  optim::OptimizerConfig config_;
  bool shard_;
  comm::Group all_;
  DType dtype_ = DType::f32;  // of gradients, masters and moments
  std::vector<State> states_;
  RangeList updated_, summed_;  // what adamw and sum_of_squares are given
  Tensor grad_scale_1_;         // f64
  HostCopy squares_1_;
};

}  // namespace switchyard::parallel
