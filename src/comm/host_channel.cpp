// Collectives that are one exchange of messages. Large reductions are in host_reduce.cpp.
#include "comm/host_channel.h"

#include "comm/host_copy.h"
#include "comm/host_reduce.h"

namespace switchyard::comm {
namespace {

class Exchange final : public Operation {
 public:
  explicit Exchange(std::unique_ptr<Transfer> transfer) : transfer_(std::move(transfer)) {}
  bool advance() override {
    if (is_done || !transfer_->done()) return false;
    transfer_ = nullptr;
    return is_done = true;
  }
  int missing_peer() const override { return transfer_ ? transfer_->missing_peer() : -1; }

 private:
  std::unique_ptr<Transfer> transfer_;
};

}  // namespace

int64_t HostChannel::next_tag() { return 2 * operations_++; }

Work HostChannel::start_exchange(const char* name, std::span<const Outgoing> sends,
                                 std::span<const Incoming> receives) {
  return engine_->start(std::make_shared<Exchange>(exchange(sends, receives, next_tag())), name);
}

Work HostChannel::all_to_all(const void* send, std::span<const int64_t> send_bytes, void* recv,
                             std::span<const int64_t> recv_bytes) {
  const auto* from = static_cast<const std::byte*>(send);
  auto* to = static_cast<std::byte*>(recv);
  std::vector<Outgoing> sends;
  std::vector<Incoming> receives;
  for (int peer = 0; peer < size(); ++peer) {
    const int64_t out = send_bytes[static_cast<size_t>(peer)], in = recv_bytes[static_cast<size_t>(peer)];
    if (peer == rank()) {
      copy_bytes(from, to, out);
    } else {
      if (out > 0) sends.push_back({peer, from, out});
      if (in > 0) receives.push_back({peer, to, in});
    }
    from += out;
    to += in;
  }
  return start_exchange("all_to_all", sends, receives);
}

Work HostChannel::all_gather(const void* send, void* recv, std::span<const int64_t> bytes) {
  auto* to = static_cast<std::byte*>(recv);
  const int64_t own = bytes[static_cast<size_t>(rank())];
  std::vector<Outgoing> sends;
  std::vector<Incoming> receives;
  for (int peer = 0; peer < size(); ++peer) {
    const int64_t in = bytes[static_cast<size_t>(peer)];
    if (peer == rank()) {
      copy_bytes(send, to, own);
    } else {
      if (own > 0) sends.push_back({peer, send, own});
      if (in > 0) receives.push_back({peer, to, in});
    }
    to += in;
  }
  return start_exchange("all_gather", sends, receives);
}

Work HostChannel::reduce_scatter(const void* send, void* recv, std::span<const int64_t> counts, DType dtype,
                                 Reduce how) {
  return engine_->start(
      std::make_shared<PiecewiseReduce>(
          *this,
          PiecewiseReduce::Args{
              .data = send, .own_piece = recv, .counts = {counts.begin(), counts.end()}, .dtype = dtype, .how = how},
          next_tag()),
      "reduce_scatter");
}

Work HostChannel::all_reduce(void* data, int64_t count, DType dtype, Reduce how) {
  if (count * size_of(dtype) <= SmallReduce::kMaxBytes)
    return engine_->start(std::make_shared<SmallReduce>(*this, data, count, dtype, how, next_tag()), "all_reduce");
  std::vector<int64_t> counts;
  for (int64_t r = 0; r < size(); ++r) counts.push_back(count * (r + 1) / size() - count * r / size());
  auto* own_piece = static_cast<std::byte*>(data) + count * rank() / size() * size_of(dtype);
  return engine_->start(
      std::make_shared<PiecewiseReduce>(
          *this,
          PiecewiseReduce::Args{
              .data = data, .own_piece = own_piece, .gather_into = data, .counts = counts, .dtype = dtype, .how = how},
          next_tag()),
      "all_reduce");
}

}  // namespace switchyard::comm
