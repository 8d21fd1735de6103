// What launchers share: the dtypes of CUDA kernels, the size of a grid, and the check that ends every launch. Blocks
// never wait for one another, so any number of them may do the work: grids are capped and loop.
#pragma once

#include "switchyard/base/cuda_status.h"
#include "switchyard/base/dtype.h"
#include "switchyard/base/exec.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "kernels/cuda/max_blocks.h"

namespace switchyard::kernels::cuda {

constexpr int kWarp = 32;
constexpr int kBlock = 256;                   // threads, unless a kernel says otherwise
constexpr int64_t kDefaultShared = 48 << 10;  // bytes a kernel may have without asking
constexpr int64_t kMostShared = 96 << 10;     // bytes that every device from sm_80 on grants
constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

inline unsigned grid_of(int64_t blocks) { return static_cast<unsigned>(std::clamp<int64_t>(blocks, 1, max_blocks())); }

// Before a launch with so many bytes of dynamic shared memory.
void allow_shared(const void* kernel, int64_t bytes);
template <class... Args>
void allow_shared(void (*kernel)(Args...), int64_t bytes) {
  allow_shared(reinterpret_cast<const void*>(kernel), bytes);
}

void check_launch(const char* kernel);
void set_zero(exec::Cuda, void* data, int64_t bytes, const char* kernel);

// body(float{}) or body(bf16{})
template <class Body>
void on_cuda_type(DType dtype, const char* kernel, Body&& body) {
  if (dtype == DType::f32)
    body(float{});
  else if (dtype == DType::bf16)
    body(bf16{});
  else
    refuse_on_cuda(kernel, dtype == DType::f64 ? "f64 is for proofs on the CPU; train.dtype must be f32 or bf16"
                                               : "the dtype is neither f32 nor bf16");
}

// body(std::true_type{}) or body(std::false_type{})
template <class Body>
void on_bool(bool value, Body&& body) {
  if (value)
    body(std::true_type{});
  else
    body(std::false_type{});
}

}  // namespace switchyard::kernels::cuda
