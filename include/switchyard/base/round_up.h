// Sizes in whole units.
#pragma once

#include <cstdint>

namespace switchyard {

constexpr int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

}  // namespace switchyard
