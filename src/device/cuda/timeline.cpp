// Events with times. Two clocks are compared when a timeline begins: the GPU's counts from an event that the host has
// waited for. Marking makes nobody wait.
#include "switchyard/base/clock.h"
#include "switchyard/base/cuda_status.h"
#include "switchyard/device/cuda.h"

#include <cuda_runtime_api.h>

namespace switchyard::device {
namespace {

class EventTimeline final : public Timeline {
 public:
  EventTimeline() {
    mark(nullptr);
    finish(compute());
    start_ = now();
  }
  ~EventTimeline() override {
    for (cudaEvent_t event : events_) cudaEventDestroy(event);
  }

  size_t mark(const Stream* stream) override {
    if (used_ == events_.size()) check_cuda(cudaEventCreate(&events_.emplace_back()), "making an event with a time");
    check_cuda(cudaEventRecord(events_[used_], (stream ? *stream : compute()).get()), "recording an event");
    return used_++;
  }

  std::vector<double> take() override {
    finish(compute());
    finish(communication());
    std::vector<double> seconds(used_, start_);
    for (size_t i = 1; i < used_; ++i) {
      float milliseconds = 0;
      check_cuda(cudaEventElapsedTime(&milliseconds, events_[0], events_[i]), "reading the time of an event");
      seconds[i] += milliseconds / 1e3;
    }
    used_ = 1;
    return seconds;
  }

 private:
  static void finish(const Stream& stream) {
    Event done;
    done.record(stream);
    done.wait();
  }

  std::vector<cudaEvent_t> events_;  // [0]: the start
  size_t used_ = 0;
  double start_ = 0;
};

}  // namespace

std::unique_ptr<Timeline> make_timeline() { return std::make_unique<EventTimeline>(); }

}  // namespace switchyard::device
