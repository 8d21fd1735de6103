// From a device the values go to page-locked memory, which a stream fills while the host goes on.
#include "switchyard/tensor/host_copy.h"

namespace switchyard {

struct HostCopy::UnderWay {
#ifdef SWITCHYARD_HAVE_CUDA
  Tensor source;  // kept until its values are here
  device::Event done;
#endif
};

HostCopy::HostCopy(const Tensor& from) {
#ifdef SWITCHYARD_HAVE_CUDA
  if (from.device() == Device::cuda) {
    under_way_ = std::make_shared<UnderWay>();
    under_way_->source = from.detach().contiguous();
    host_ = Tensor::in(device::pinned_memory(), from.shape(), from.dtype());
    device::start_copy_to_host(host_.raw(), under_way_->source.raw(), host_.bytes(), under_way_->done);
    return;
  }
#endif
  host_ = from.detach().clone(Purpose::buffers);
}

const Tensor& HostCopy::get() const {
#ifdef SWITCHYARD_HAVE_CUDA
  if (under_way_ && under_way_->source.defined()) {
    under_way_->done.wait();
    under_way_->source = {};
  }
#endif
  return host_;
}

}  // namespace switchyard
