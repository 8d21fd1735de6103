// Ranges for NVIDIA's profilers (NVTX).
#pragma once

#include "switchyard/device/range.h"

#include <memory>

namespace switchyard::device {

std::unique_ptr<Listener> listen_for_profilers();  // null: there is none

}  // namespace switchyard::device
