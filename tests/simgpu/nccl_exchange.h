// One call, or the calls of one group, as an operation of a stream.
#pragma once

#include "tests/simgpu/nccl_communicator.h"

#include <vector>

namespace switchyard::simgpu::nccl {

enum class Kind : uint32_t { all_reduce, reduce_scatter, reduce, all_gather, send, receive };

size_t bytes_of(ncclDataType_t type);  // 0: not simulated

struct Request {
  Kind kind;
  const void* send;
  void* receive;
  size_t count;
  ncclDataType_t type;
  ncclRedOp_t op;
  int peer;  // or root
  cudaStream_t stream;
  std::shared_ptr<Communicator> comm{};
  uint32_t sequence = 0;  // of the collective in its communicator; 0 for send and receive
  bool is_pair() const { return kind == Kind::send || kind == Kind::receive; }
  bool is_to_self() const { return is_pair() && peer == comm->rank; }
  size_t bytes() const { return count * bytes_of(type); }
};

cudaError_t enqueue(std::vector<Request> requests);  // all of one stream

}  // namespace switchyard::simgpu::nccl
