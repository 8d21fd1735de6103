// Copies between buffers of the host, in parallel where that pays.
#pragma once

#include "switchyard/base/threads.h"

#include <cstddef>
#include <cstring>

namespace switchyard::comm {

inline void copy_bytes(const void* from, void* to, int64_t bytes) {
  if (from == to) return;  // a part that is already where it belongs
  parallel_ranges(bytes, 1 << 20, [&](int64_t begin, int64_t end, int) {
    std::memcpy(static_cast<std::byte*>(to) + begin, static_cast<const std::byte*>(from) + begin,
                static_cast<size_t>(end - begin));
  });
}

}  // namespace switchyard::comm
