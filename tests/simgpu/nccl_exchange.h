// One call, or the calls of one group, as an operation of a stream: messages of an envelope and bytes that move through
// the rings whenever there is room or data, all of them in each try. An envelope that is not the expected one, a peer
// that is gone and a standstill become the communicator's error; the stream then waits for ncclCommAbort, as on a GPU.
#pragma once

#include "tests/simgpu/library.h"
#include "tests/simgpu/nccl_communicator.h"

#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace switchyard::simgpu::nccl {

enum class Kind : uint32_t { all_reduce, reduce_scatter, reduce, all_gather, send, receive };

size_t bytes_of(ncclDataType_t type);  // 0: not simulated
// out = in[0] op in[1] op ... in this order, in f32 for bf16 and rounded once.
void reduce(ncclDataType_t type, ncclRedOp_t op, const std::vector<const uint8_t*>& in, size_t count, uint8_t* out);

struct Request {
  std::shared_ptr<Communicator> comm;
  Kind kind;
  const void* send;
  void* receive;
  size_t count;
  ncclDataType_t type;
  ncclRedOp_t op;
  int peer;           // or root
  uint32_t sequence;  // of the collective in its communicator; 0 for send and receive
  bool is_pair() const { return kind == Kind::send || kind == Kind::receive; }
  bool is_to_self() const { return is_pair() && peer == comm->rank; }
  size_t bytes() const { return count * bytes_of(type); }
};

struct Envelope {  // goes before the bytes of each message
  uint64_t communicator, count;
  uint32_t kind, type, op, root, sequence, unused;
  bool operator==(const Envelope&) const = default;
};
std::string text_of(const Request& request);

class Exchange {
 public:
  explicit Exchange(std::vector<Request> requests) : requests_(std::move(requests)) {}
  Progress step(Operation& operation);

 private:
  struct Message {
    const Request* request;
    int peer;
    bool is_out;
    std::vector<uint8_t> data;  // to send, or received: an envelope, and the bytes
    size_t moved = 0;
    bool is_done() const { return moved == data.size(); }
    uint8_t* bytes() { return data.data() + sizeof(Envelope); }
  };

  void start(Operation& operation);
  void start_collective(Operation& operation, const Request& request);
  void add(const Request& request, int peer, bool is_out, const uint8_t* bytes, size_t count);
  bool pump();
  bool pump(Message& message);
  void look_for_trouble();
  void finish(Operation& operation);
  Progress end();
  std::string text() const;
  void fail(Communicator& comm, ncclResult_t result, const std::string& text);

  std::vector<Request> requests_;
  std::vector<Message> messages_;
  bool has_started_ = false, has_failed_ = false;
  double waited_ = 0;  // seconds without progress
  std::chrono::steady_clock::time_point born_ = std::chrono::steady_clock::now(), last_try_ = born_;
};

}  // namespace switchyard::simgpu::nccl
