// Collectives of host memory, written once over messages between two ranks. The threads and mpi transports provide the
// messages; the sums are ours, so that they are made in rank order and give the same bits on every member.
#pragma once

#include "comm/channel.h"

namespace switchyard::comm {

struct Outgoing {
  int peer;
  const void* data;
  int64_t bytes;
};
struct Incoming {
  int peer;
  void* data;
  int64_t bytes;
};

// Messages under way.
class Transfer {
 public:
  virtual ~Transfer() = default;
  virtual bool done() = 0;                   // also moves it forward
  virtual int missing_peer() { return -1; }  // rank in the world whose part is not here; -1: none, or not known
};

class HostChannel : public Channel, public std::enable_shared_from_this<HostChannel> {
 public:
  HostChannel(int rank, std::vector<int> ranks, std::shared_ptr<Engine> engine)
      : Channel(rank, std::move(ranks)), engine_(std::move(engine)) {}

  // Messages with the same tag between two ranks arrive in the order they were sent. No peer is this rank.
  virtual std::unique_ptr<Transfer> exchange(std::span<const Outgoing> sends, std::span<const Incoming> receives,
                                             int64_t tag) = 0;

  Work all_reduce(void* data, int64_t count, DType dtype, Reduce how) override;
  Work all_gather(const void* send, void* recv, std::span<const int64_t> bytes) override;
  Work reduce_scatter(const void* send, void* recv, std::span<const int64_t> counts, DType dtype, Reduce how) override;
  Work all_to_all(const void* send, std::span<const int64_t> send_bytes, void* recv,
                  std::span<const int64_t> recv_bytes) override;
  std::string last_started() const override { return engine_->last_started(); }

 private:
  Work start_exchange(const char* name, std::span<const Outgoing> sends, std::span<const Incoming> receives);
  int64_t next_tag();  // an operation uses its tag and the one after it

  std::shared_ptr<Engine> engine_;
  int64_t operations_ = 0;  // started so far: all members count the same
};

}  // namespace switchyard::comm
