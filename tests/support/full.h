// Tests that can look at more than a quick run has time for: scripts/test.sh --full sets SWITCHYARD_TEST_FULL.
#pragma once

#include <cstdlib>

namespace switchyard::test {

inline bool is_full_run() { return std::getenv("SWITCHYARD_TEST_FULL") != nullptr; }

}  // namespace switchyard::test
