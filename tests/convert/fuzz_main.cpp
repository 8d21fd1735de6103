// A target of fuzz_targets.h as libFuzzer wants it; scripts/cmake/tests.cmake compiles one program for each.
#include "tests/convert/fuzz_targets.h"

#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  switchyard::test::FUZZ_TARGET({reinterpret_cast<const char*>(data), size});
  return 0;
}
