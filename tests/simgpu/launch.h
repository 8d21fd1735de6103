// Runs the whole grid of a launch, block after block in an order that the seed draws.
#pragma once

#include "tests/simgpu/warp.h"

namespace switchyard::simgpu {

// Throws Fault for what a GPU would report. `parameters` are laid out as the kernel's. Called under device_mutex().
void run_launch(const Function& function, uint32_t operation, Extent grid, Extent block, uint32_t dynamic_shared,
                const std::vector<uint8_t>& parameters);

}  // namespace switchyard::simgpu
