// Reductions of host memory. SmallReduce: everyone sends everything to everyone, one message of latency.
// PiecewiseReduce: each rank adds up one piece of the vector, chunk by chunk, so that little memory is needed and
// sending overlaps adding. Both add in rank order and give the same bits.
#pragma once

#include "comm/host_channel.h"
#include "switchyard/tensor/tensor.h"

#include <array>
#include <deque>

namespace switchyard::comm {

class SmallReduce final : public Operation {
 public:
  static constexpr int64_t kMaxBytes = 4096;
  SmallReduce(HostChannel& channel, void* data, int64_t count, DType dtype, Reduce how, int64_t tag);
  bool advance() override;
  int missing_peer() const override { return transfer_ ? transfer_->missing_peer() : -1; }

 private:
  void* data_;
  int64_t count_;
  DType dtype_;
  Reduce how_;
  Storage received_;                  // (size, count): what each rank sent, own values too
  std::vector<const void*> sources_;  // (size) into received_
  std::unique_ptr<Transfer> transfer_;
};

class PiecewiseReduce final : public Operation {
 public:
  struct Args {
    const void* data;             // the pieces, in rank order
    void* own_piece;              // where the sum of this rank's piece goes; may be its place in data
    void* gather_into = nullptr;  // where all sums go afterwards, in rank order; null: nowhere
    std::vector<int64_t> counts;  // (size) elements per piece
    DType dtype;
    Reduce how;
  };
  PiecewiseReduce(HostChannel& channel, Args args, int64_t tag);
  bool advance() override;
  int missing_peer() const override;

 private:
  static constexpr int kSlots = 2;  // chunks on their way at once
  struct Range {
    int64_t begin, count;  // elements of a piece
  };
  Range chunk_of(int piece, int64_t chunk) const;
  std::byte* received(int64_t chunk, int peer);
  void send_chunk(int64_t chunk);
  void add_chunk(int64_t chunk);
  void gather_chunk(int64_t chunk);

  std::shared_ptr<HostChannel> channel_;
  Args args_;
  int64_t tag_;
  std::vector<int64_t> offsets_;  // (size) first element of each piece
  int64_t chunk_size_ = 0, chunks_ = 0;
  int64_t sent_ = 0, added_ = 0;     // chunks so far
  std::unique_ptr<Storage> buffer_;  // (kSlots, size - 1, chunk_size)
  std::array<std::unique_ptr<Transfer>, kSlots> scatter_;
  std::deque<std::unique_ptr<Transfer>> gather_;
};

}  // namespace switchyard::comm
