// A tensor's values on their way to the host, so that what is enqueued meanwhile need not wait for them.
#pragma once

#include "switchyard/tensor/tensor.h"

#include <memory>
#include <vector>

namespace switchyard {

class HostCopy {
 public:
  HostCopy() = default;
  explicit HostCopy(const Tensor& from);  // as it is when the device comes to this point; of the host's: a copy
  const Tensor& get() const;              // in host memory; waits for what has not arrived
  template <class T>
  std::vector<T> to_vector() const {
    return get().to_vector<T>();
  }

 private:
  struct UnderWay;  // what a device has not done yet
  Tensor host_;
  std::shared_ptr<UnderWay> under_way_;
};

}  // namespace switchyard
