// Where memory lies and kernels run. A rank that computes on CUDA makes its tensors there; code that fills or reads
// elements itself asks for the CPU.
#pragma once

#include "switchyard/base/scoped.h"

#include <cstdint>
#include <string_view>

namespace switchyard {

enum class Device : uint8_t { cpu, cuda };
constexpr int kNumDevices = 2;
std::string_view name_of(Device device);

// Where the calling thread makes tensors: the CPU, unless a scope says otherwise.
Device current_device();

class [[nodiscard]] DeviceScope {
 public:
  explicit DeviceScope(Device device);

 private:
  Scoped<Device> current_;
};

// In the order of this rank's kernels. What lies in host memory afterwards may be read at once.
void copy_bytes(void* to, Device to_device, const void* from, Device from_device, int64_t bytes);

}  // namespace switchyard
