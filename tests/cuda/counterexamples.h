// Kernels that are what ours must not be, so that the tests of ours are seen to fail.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace switchyard::test {

// y = x, (rows, columns): neighbouring threads have neighbouring rows, so each access of a warp touches 32 sectors.
void copy_strided(const float* x, float* y, int64_t rows, int64_t columns);

// places[i]: how many threads had taken a place before thread i did. `counter` is 0 before.
void take_places(cudaStream_t stream, int32_t* counter, int32_t* places, int64_t count);

}  // namespace switchyard::test
