// What tensors are views of.
#pragma once

#include "switchyard/device/allocator.h"
#include "switchyard/device/device.h"

#include <cstddef>
#include <cstdint>
#include <memory>

namespace switchyard {

// One allocation. `version` counts changes of its content (optimizer step, all-gather, load), so that packed copies of
// weights know when they are stale.
class Storage {
 public:
  Storage(int64_t bytes, Purpose purpose, Device device = current_device());
  Storage(int64_t bytes, Purpose purpose, Device device, std::shared_ptr<Allocator> allocator);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  std::byte* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  Purpose purpose() const { return purpose_; }
  Device device() const { return device_; }

  uint64_t version = 0;
  std::shared_ptr<void> packed;  // packed copies of the weights inside, owned by ops/packed.cpp

 private:
  std::shared_ptr<Allocator> allocator_;
  std::byte* data_ = nullptr;
  int64_t bytes_ = 0;
  Purpose purpose_ = Purpose::activations;
  Device device_ = Device::cpu;
};

}  // namespace switchyard
