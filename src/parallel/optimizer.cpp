// For f32 and f64 the weights themselves are the masters: their part of the bucket is viewed, not copied.
#include "switchyard/parallel/optimizer.h"

#include "kernels/adamw.h"
#include "kernels/clip.h"
#include "switchyard/parallel/placement.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace switchyard::parallel {
namespace {

std::byte* at(const Tensor& flat, int64_t element) { return flat.raw() + element * size_of(flat.dtype()); }

// Calls visit(segment, begin, end) for the part [begin, end) of each segment inside [from, to) of the bucket.
template <class Visit>
void visit_range(const Bucket& bucket, int64_t from, int64_t to, Visit&& visit) {
  for (const Segment& segment : bucket.segments) {
    const int64_t begin = std::max(from, segment.offset), end = std::min(to, segment.offset + segment.count);
    if (begin < end) visit(segment, begin, end);
  }
}

}  // namespace

ShardedAdamW::ShardedAdamW(std::vector<Bucket>& buckets, const optim::OptimizerConfig& config, bool shard,
                           const Mesh& mesh, uint64_t seed)
    : buckets_(buckets), config_(config), shard_(shard), all_(mesh.all()) {
  for (Bucket& bucket : buckets_) {
    State state{shard ? bucket.owned_begin() : 0, shard ? bucket.owned_end() : bucket.weights.numel(), {}, {}, {}};
    const Shape size{state.end - state.begin};
    const DType dtype = dtype_ = bucket.grads.dtype();
    state.exp_avg = Tensor::zeros(size, dtype, Purpose::optimizer);
    state.exp_avg_sq = Tensor::zeros(size, dtype, Purpose::optimizer);
    if (bucket.weights.dtype() == dtype) {
      state.master = bucket.weights.slice(0, state.begin, state.end);
    } else {
      // The unrounded initial values, so that f32 and bf16 runs start alike.
      state.master = Tensor::zeros(size, dtype, Purpose::optimizer);
      visit_range(bucket, state.begin, state.end, [&](const Segment& segment, int64_t begin, int64_t end) {
        Tensor part = state.master.slice(0, begin - state.begin, end - state.begin);
        initialize(*segment.parameter, {segment.box, begin - segment.offset, end - segment.offset}, seed, part);
      });
    }
    states_.push_back(std::move(state));
  }
  list_ranges();
}

template <class Range>
ShardedAdamW::RangeList ShardedAdamW::make_list(std::vector<Range> ranges) const {
  const int64_t num_chunks = kernels::number_chunks(ranges);
  const Tensor bytes = Tensor::empty({std::ssize(ranges) * int64_t{sizeof(Range)}}, DType::u8, Purpose::buffers);
  copy_bytes(bytes.raw(), bytes.device(), ranges.data(), Device::cpu, bytes.bytes());
  return {bytes, std::ssize(ranges), num_chunks};
}

void ShardedAdamW::list_ranges() {
  std::vector<kernels::AdamWRange> updated;
  std::vector<kernels::SquaresRange> summed;
  for (size_t b = 0; b < buckets_.size(); ++b) {
    const Bucket& bucket = buckets_[b];
    const State& state = states_[b];
    summed.push_back({at(bucket.grads, bucket.owned_begin()), bucket.share()});
    visit_range(bucket, state.begin, state.end, [&](const Segment& segment, int64_t begin, int64_t end) {
      const int64_t i = begin - state.begin;
      updated.push_back(
          {.master = at(state.master, i),
           .weights = bucket.weights.dtype() == DType::bf16 ? bucket.weights.data<bf16>() + begin : nullptr,
           .grad = at(bucket.grads, begin),
           .exp_avg = at(state.exp_avg, i),
           .exp_avg_sq = at(state.exp_avg_sq, i),
           .n = end - begin,
           .weight_decay = segment.parameter->decay ? config_.weight_decay : 0.0});
    });
  }
  updated_ = make_list(std::move(updated));
  summed_ = make_list(std::move(summed));
}

void ShardedAdamW::clip(const Tensor& loss_1, double max_norm) {
  const Tensor chunks = Tensor::empty({summed_.num_chunks}, DType::f64, Purpose::buffers);
  const Tensor sums_2 = Tensor::empty({2}, DType::f64, Purpose::buffers);
  Tensor loss = sums_2.slice(0, 1, 2);
  loss.copy_from(loss_1.detach().to(DType::f64));
  on_device(sums_2, [&](auto exec) {
    kernels::sum_of_squares(exec, {.ranges = reinterpret_cast<const kernels::SquaresRange*>(summed_.ranges.raw()),
                                   .num_ranges = summed_.num_ranges,
                                   .num_chunks = summed_.num_chunks,
                                   .chunks = chunks.data<double>(),
                                   .sum = sums_2.data<double>(),
                                   .dtype = dtype_});
  });
  all_.on(sums_2.device()).all_reduce(sums_2.raw(), 2, DType::f64).wait();
  grad_scale_1_ = Tensor::empty({1}, DType::f64, Purpose::buffers);
  on_device(sums_2, [&](auto exec) {
    kernels::clip(exec, {sums_2.data<double>(), grad_scale_1_.data<double>(), max_norm});
  });
  squares_1_ = HostCopy(sums_2.slice(0, 0, 1));
}

double ShardedAdamW::gradient_norm() const { return std::sqrt(squares_1_.get().item()); }

void ShardedAdamW::step(double lr, int64_t t) {
  check(grad_scale_1_.defined(), "AdamW: a step without clip");
  const Tensor grad_scale_1 = std::exchange(grad_scale_1_, {});  // of these gradients alone
  on_device(grad_scale_1, [&](auto exec) {
    kernels::adamw(exec, {.ranges = reinterpret_cast<const kernels::AdamWRange*>(updated_.ranges.raw()),
                          .num_ranges = updated_.num_ranges,
                          .num_chunks = updated_.num_chunks,
                          .grad_scale = grad_scale_1.data<double>(),
                          .dtype = dtype_,
                          .lr = lr,
                          .beta1 = config_.betas[0],
                          .beta2 = config_.betas[1],
                          .eps = config_.eps,
                          .t = t});
  });
  gather_weights();
}

void ShardedAdamW::gather_weights() {
  std::vector<comm::Work> works;
  for (Bucket& bucket : buckets_) {
    bucket.weights.bump_version();
    if (shard_ && bucket.replicas.size() > 1)
      works.push_back(bucket.replicas.on(bucket.weights.device())
                          .all_gather(at(bucket.weights, bucket.owned_begin()), bucket.weights.raw(), bucket.share(),
                                      bucket.weights.dtype()));
  }
  for (comm::Work& work : works) work.wait();
}

std::vector<OwnedSlice> ShardedAdamW::owned_slices() const {
  std::vector<OwnedSlice> slices;
  for (size_t b = 0; b < buckets_.size(); ++b) {
    const State& state = states_[b];
    visit_range(buckets_[b], buckets_[b].owned_begin(), buckets_[b].owned_end(),
                [&](const Segment& segment, int64_t begin, int64_t end) {
                  const auto part = [&](const Tensor& t) { return t.slice(0, begin - state.begin, end - state.begin); };
                  slices.push_back({segment.parameter,
                                    {segment.box, begin - segment.offset, end - segment.offset},
                                    part(state.master),
                                    part(state.exp_avg),
                                    part(state.exp_avg_sq),
                                    buckets_[b].grads.slice(0, begin, end)});
                });
  }
  return slices;
}

void ShardedAdamW::masters_changed() {
  for (size_t b = 0; b < buckets_.size(); ++b) {
    Bucket& bucket = buckets_[b];
    if (!shard_ && bucket.replicas.size() > 1) {  // only the owned shares were loaded
      for (const Tensor& flat : {states_[b].master, states_[b].exp_avg, states_[b].exp_avg_sq})
        bucket.replicas.on(flat.device())
            .all_gather(at(flat, bucket.owned_begin()), flat.raw(), bucket.share(), flat.dtype())
            .wait();
    }
    if (bucket.weights.dtype() != bucket.grads.dtype())
      bucket.weights.slice(0, states_[b].begin, states_[b].end).copy_from(states_[b].master);
  }
  gather_weights();
}

}  // namespace switchyard::parallel
