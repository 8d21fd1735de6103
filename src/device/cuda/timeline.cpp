// Events with times. Two clocks are compared when a timeline begins, and again whenever its marks are taken, since an
// event's time is a float of milliseconds: the GPU's counts from an event that the host has waited for. Marking makes
// nobody wait and throws nothing, for ranges end where an exception passes; what went wrong is thrown by take().
#include "switchyard/base/clock.h"
#include "switchyard/base/cuda_status.h"
#include "switchyard/device/cuda.h"

#include <cuda_runtime_api.h>

namespace switchyard::device {
namespace {

class EventTimeline final : public Timeline {
 public:
  EventTimeline() { begin(); }
  ~EventTimeline() override {
    for (cudaEvent_t event : events_) cudaEventDestroy(event);
  }

  size_t mark(const Stream* stream) noexcept override {
    if (used_ == events_.size()) note(cudaEventCreate(&events_.emplace_back()));
    if (status_ == cudaSuccess) note(cudaEventRecord(events_[used_], (stream ? *stream : compute()).get()));
    return used_++;
  }

  std::vector<double> take() override {
    check_cuda(status_, "marking times on the GPU");
    finish(compute());
    finish(communication());
    std::vector<double> seconds(used_, start_);
    for (size_t i = 1; i < used_; ++i) {
      float milliseconds = 0;
      check_cuda(cudaEventElapsedTime(&milliseconds, events_[0], events_[i]), "reading the time of an event");
      seconds[i] += milliseconds / 1e3;
    }
    begin();
    return seconds;
  }

 private:
  void begin() {
    used_ = 0;
    mark(nullptr);
    check_cuda(status_, "marking times on the GPU");
    finish(compute());
    start_ = now();
  }
  void note(cudaError_t status) {
    if (status_ == cudaSuccess) status_ = status;
  }
  static void finish(const Stream& stream) {
    Event done;
    done.record(stream);
    done.wait();
  }

  std::vector<cudaEvent_t> events_;  // [0]: the start
  size_t used_ = 0;
  cudaError_t status_ = cudaSuccess;  // the first that is not
  double start_ = 0;
};

}  // namespace

std::unique_ptr<Timeline> make_timeline() { return std::make_unique<EventTimeline>(); }

}  // namespace switchyard::device
