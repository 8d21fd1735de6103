// Kernels with seeded bugs, for check_test.cpp: `bug` 0 is the correct one. Each launches on the given stream.
#pragma once

#include <cuda_runtime.h>

namespace simgpu_test {

void shared_exchange(float* out, int bug,
                     cudaStream_t s = nullptr);  // 64 threads; 1: no barrier, 2: barrier, but not before reuse
void warp_exchange(float* out, int bug);         // 32 threads; 1: no __syncwarp
void block_counter(int* counter, int bug);       // 8 blocks; 1: plain increment
void slots(int* counter, int* out, int blocks, int tag, cudaStream_t s = nullptr);  // order of atomics decides out
void last_block(float* x, int* counter, float* out, int blocks,
                int bug);  // 1: no fence, 2: no barrier before the atomic, 3: none after
void flag_by_release(int* data, int* flag, int* seen, int bug);  // 2 blocks; 1: relaxed store, 2: relaxed load
void async_copy(const float* in, float* out,
                int bug);  // 1: no wait, 2: no barrier after it, 3: none before the next copy, 4: read in flight
void async_copy_tail(const float* in, float* out, int bytes);  // zero-filled behind `bytes`
void named_barrier(float* out, int bug);                       // 128 threads; 1: consumers do not wait
void neighbour_bytes(unsigned char* out);                      // each thread its own byte
void many_barriers(int* out, int count, int bug);              // 64 threads; 1: a race after them
void uninitialised_shared(float* out);
void out_of_bounds(float* x, int n);  // reads x[n]
void misaligned(float* x);
void shared_out_of_bounds(float* out, int index);
void divergent_barrier(float* out);
void missing_lane(float* out, int bug);  // 1: mask names an exited lane, 2: an absent one
void barrier_without_warp(float* out);
void spin(int* flag);
void add_one(float* x, int n, cudaStream_t s = nullptr);
void copy_rows(const float* in, float* out, int n, int stride);  // sectors
void transpose(const float* in, float* out, int padding);        // 32 x 32 through shared memory
void mixed_order(const float* in, float* out);                   // sums with atomics: bits depend on the order
void parameters_by_value(float* const* pointers, const int* counts, int n);
void dynamic_shared(float* out, int floats);
const void* dynamic_shared_kernel();

}  // namespace simgpu_test
