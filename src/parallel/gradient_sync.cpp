// Backward completes the last layers first, so buckets are sent from the last to the first. The order is fixed: ranks
// must agree on it whatever order their hooks fire in.
#include "switchyard/parallel/gradient_sync.h"

namespace switchyard::parallel {

GradientSync::GradientSync(std::vector<Bucket>& buckets, bool scatter) : buckets_(buckets), scatter_(scatter) {
  missing_.resize(buckets_.size());
  for (size_t b = 0; b < buckets_.size(); ++b)
    for (Segment& segment : buckets_[b].segments) segment.leaf->on_complete = [this, b] { on_complete(b); };
}

GradientSync::~GradientSync() {
  for (Bucket& bucket : buckets_)
    for (Segment& segment : bucket.segments) segment.leaf->on_complete = nullptr;
}

void GradientSync::begin_step() {
  is_last_pass_ = false;
  num_sent_ = 0;
  for (Bucket& bucket : buckets_)
    for (Segment& segment : bucket.segments) segment.leaf->is_written = false;
}

void GradientSync::expect_last_pass() {
  is_last_pass_ = true;
  for (size_t b = 0; b < buckets_.size(); ++b) missing_[b] = buckets_[b].segments.size();
}

void GradientSync::on_complete(size_t bucket) {
  if (!is_last_pass_) return;
  check(missing_[bucket] > 0, "gradient sync: bucket {} completed twice", bucket);
  --missing_[bucket];
  send_ready();
  if (buckets_[bucket].grads.device() != Device::cpu) return;
  for (comm::Work& work : works_)  // host transports move only when asked
    if (!work.done()) break;
}

void GradientSync::send_ready() {
  while (num_sent_ < buckets_.size() && missing_[buckets_.size() - 1 - num_sent_] == 0)
    send(buckets_.size() - 1 - num_sent_);
}

void GradientSync::send(size_t b) {
  Bucket& bucket = buckets_[b];
  ++num_sent_;
  for (Segment& segment : bucket.segments)
    if (!segment.leaf->is_written) segment.leaf->grad.fill(0);
  if (bucket.replicas.size() == 1 || left_out_ == b) return;
  std::byte* grads = bucket.grads.raw();
  const comm::Group replicas = bucket.replicas.on(bucket.grads.device());
  const DType dtype = bucket.grads.dtype();
  works_.push_back(
      scatter_ ? replicas.reduce_scatter(grads, grads + bucket.owned_begin() * size_of(dtype), bucket.share(), dtype)
               : replicas.all_reduce(grads, bucket.grads.numel(), dtype));
}

void GradientSync::finish() {
  while (num_sent_ < buckets_.size()) send(buckets_.size() - 1 - num_sent_);
  for (comm::Work& work : works_) work.wait();
  works_.clear();
  left_out_.reset();
  is_last_pass_ = false;
}

}  // namespace switchyard::parallel
