// The most blocks that a launch has. Results do not depend on it: tests lower it, so that blocks loop.
#pragma once

#include <cstdint>

namespace switchyard::kernels::cuda {

inline int64_t& max_blocks() {
  static int64_t blocks = 2048;  // several on each multiprocessor of a large device
  return blocks;
}

}  // namespace switchyard::kernels::cuda
