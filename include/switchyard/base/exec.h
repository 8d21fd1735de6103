// Execution tags: a kernel has one overload per backend, chosen by its first argument.
#pragma once

struct CUstream_st;  // what a cudaStream_t points to

namespace switchyard::exec {

struct Cpu {};

struct Cuda {
  CUstream_st* stream = nullptr;  // work is enqueued here, in order
};

}  // namespace switchyard::exec
