// Sums gradients over replicas while backward is still running: a bucket is sent as soon as all its gradients are
// complete. Summed in the dtype of `Bucket::grads` (f32, or f64 for f64 weights); nothing is divided.
#pragma once

#include "switchyard/parallel/buckets.h"

#include <optional>

namespace switchyard::parallel {

class GradientSync {
 public:
  // `scatter`: every replica gets the sum of its own share only (ZeRO); otherwise all get all of it. Keeps a reference
  // to the buckets and installs hooks on their leaves.
  GradientSync(std::vector<Bucket>& buckets, bool scatter);
  ~GradientSync();
  GradientSync(const GradientSync&) = delete;
  GradientSync& operator=(const GradientSync&) = delete;

  // A fault on purpose, on every replica: this bucket is not summed in the next step.
  void leave_out(size_t bucket) { left_out_ = bucket; }

  void begin_step();        // the next backward assigns gradients instead of adding
  void expect_last_pass();  // the next backward is the last of the step: send buckets as they complete
  size_t num_under_way() const { return works_.size(); }  // reductions started since begin_step and not waited for
  // Sends what was not sent, waits for all; gradients that nobody wrote are zero. Throws if another rank has failed.
  void finish();

 private:
  void on_complete(size_t bucket);
  void send_ready();
  void send(size_t bucket);

  std::vector<Bucket>& buckets_;
  bool scatter_;
  bool is_last_pass_ = false;
  std::vector<size_t> missing_;  // (buckets) gradients not complete in this pass
  std::optional<size_t> left_out_;
  size_t num_sent_ = 0;  // buckets are sent from the last to the first on every rank alike
  std::vector<comm::Work> works_;
};

}  // namespace switchyard::parallel
