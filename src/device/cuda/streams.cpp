// Objects over CUDA's handles. What ends after the runtime has been unloaded has nothing left to free.
#include "switchyard/base/cuda_status.h"
#include "switchyard/device/cuda.h"

#include <cuda_runtime_api.h>

namespace switchyard::device {

Event::Event() { check_cuda(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "making an event"); }

Event::~Event() {
  if (event_ != nullptr) cudaEventDestroy(event_);
}

Event& Event::operator=(Event&& other) noexcept {
  std::swap(event_, other.event_);
  return *this;
}

void Event::record(const Stream& stream) { check_cuda(cudaEventRecord(event_, stream.get()), "recording an event"); }

bool Event::is_done() const {
  const cudaError_t status = cudaEventQuery(event_);
  if (status == cudaErrorNotReady) return false;
  check_cuda(status, "work on the GPU");
  return true;
}

void Event::wait() const { wait_until(*this); }

Stream::Stream() { check_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream"); }

Stream::~Stream() { cudaStreamDestroy(stream_); }

void Stream::wait(const Event& event) const {
  check_cuda(cudaStreamWaitEvent(stream_, event.get(), 0), "waiting for an event");
}

}  // namespace switchyard::device
