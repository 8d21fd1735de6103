// The current device is a thread's own, since ranks may be threads.
#include "switchyard/device/device.h"

#include "switchyard/base/error.h"
#ifdef SWITCHYARD_HAVE_CUDA
#include "switchyard/device/cuda.h"
#endif

#include <array>
#include <cstring>

namespace switchyard {
namespace {

thread_local Device current = Device::cpu;

}  // namespace

std::string_view name_of(Device device) {
  constexpr std::array<std::string_view, kNumDevices> names{"cpu", "cuda"};
  return names[static_cast<size_t>(device)];
}

Device current_device() { return current; }

DeviceScope::DeviceScope(Device device) : current_(current, device) {}

void copy_bytes(void* to, Device to_device, const void* from, Device from_device, int64_t bytes) {
#ifdef SWITCHYARD_HAVE_CUDA
  if (to_device == Device::cuda || from_device == Device::cuda)
    return device::copy_bytes(to, to_device, from, from_device, bytes);
#endif
  check(to_device == Device::cpu && from_device == Device::cpu, "copy from {} to {}: this program has no CUDA",
        name_of(from_device), name_of(to_device));
  if (bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
}

}  // namespace switchyard
