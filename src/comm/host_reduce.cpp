// The two reductions as state machines: advance() does whatever the messages that have arrived allow.
#include "comm/host_reduce.h"

#include "comm/host_copy.h"
#include "comm/ordered_reduce.h"

#include <algorithm>

namespace switchyard::comm {
namespace {

constexpr int64_t kChunkBytes = 1 << 19;  // of one slot, over all peers: stays in the second-level cache
constexpr int64_t kMinChunk = 1024;       // elements

}  // namespace

SmallReduce::SmallReduce(HostChannel& channel, void* data, int64_t count, DType dtype, Reduce how, int64_t tag)
    : data_(data),
      count_(count),
      dtype_(dtype),
      how_(how),
      received_(channel.size() * count * size_of(dtype), Purpose::buffers, Device::cpu) {
  const int64_t bytes = count * size_of(dtype);
  std::vector<Outgoing> sends;
  std::vector<Incoming> receives;
  for (int peer = 0; peer < channel.size(); ++peer) {
    std::byte* part = received_.data() + peer * bytes;
    sources_.push_back(part);
    if (peer == channel.rank()) {
      copy_bytes(data, part, bytes);
    } else {
      sends.push_back({peer, data, bytes});
      receives.push_back({peer, part, bytes});
    }
  }
  transfer_ = channel.exchange(sends, receives, tag);
}

bool SmallReduce::advance() {
  if (is_done || !transfer_->done()) return false;
  transfer_ = nullptr;
  reduce_in_order(sources_, data_, count_, dtype_, how_);
  return is_done = true;
}

PiecewiseReduce::PiecewiseReduce(HostChannel& channel, Args args, int64_t tag)
    : channel_(channel.shared_from_this()), args_(std::move(args)), tag_(tag) {
  const int64_t peers = channel.size() - 1;
  int64_t offset = 0;
  for (const int64_t count : args_.counts) {
    offsets_.push_back(offset);
    offset += count;
  }
  const int64_t longest = *std::max_element(args_.counts.begin(), args_.counts.end());
  const int64_t size = size_of(args_.dtype);
  chunk_size_ = std::max<int64_t>(1, std::min(longest, std::max(kMinChunk, kChunkBytes / size / peers)));
  chunks_ = (longest + chunk_size_ - 1) / chunk_size_;
  const int64_t slots = std::min<int64_t>(kSlots, chunks_);
  buffer_ = std::make_unique<Storage>(slots * peers * chunk_size_ * size, Purpose::buffers, Device::cpu);
}

PiecewiseReduce::Range PiecewiseReduce::chunk_of(int piece, int64_t chunk) const {
  const int64_t count = args_.counts[static_cast<size_t>(piece)];
  const int64_t begin = std::min(chunk * chunk_size_, count);
  return {offsets_[static_cast<size_t>(piece)] + begin, std::min(chunk_size_, count - begin)};
}

std::byte* PiecewiseReduce::received(int64_t chunk, int peer) {
  const int64_t peers = channel_->size() - 1, index = peer - (peer > channel_->rank());
  return buffer_->data() + (chunk % kSlots * peers + index) * chunk_size_ * size_of(args_.dtype);
}

// This rank's values of every other piece go to the owner of the piece.
void PiecewiseReduce::send_chunk(int64_t chunk) {
  const int64_t size = size_of(args_.dtype);
  const Range own = chunk_of(channel_->rank(), chunk);
  std::vector<Outgoing> sends;
  std::vector<Incoming> receives;
  for (int peer = 0; peer < channel_->size(); ++peer) {
    if (peer == channel_->rank()) continue;
    const Range theirs = chunk_of(peer, chunk);
    if (theirs.count > 0)
      sends.push_back({peer, static_cast<const std::byte*>(args_.data) + theirs.begin * size, theirs.count * size});
    if (own.count > 0) receives.push_back({peer, received(chunk, peer), own.count * size});
  }
  scatter_[static_cast<size_t>(chunk % kSlots)] = channel_->exchange(sends, receives, tag_);
}

void PiecewiseReduce::add_chunk(int64_t chunk) {
  const int64_t size = size_of(args_.dtype);
  const int me = channel_->rank();
  const Range own = chunk_of(me, chunk);
  std::vector<const void*> sources;
  for (int peer = 0; peer < channel_->size(); ++peer)
    sources.push_back(peer == me ? static_cast<const std::byte*>(args_.data) + own.begin * size
                                 : received(chunk, peer));
  const int64_t at = own.begin - offsets_[static_cast<size_t>(me)];
  reduce_in_order(sources, static_cast<std::byte*>(args_.own_piece) + at * size, own.count, args_.dtype, args_.how);
}

// The sums of this rank's piece go to everyone. A peer's sum can only arrive after it has received our values of its
// piece, so what is overwritten here has been sent.
void PiecewiseReduce::gather_chunk(int64_t chunk) {
  const int64_t size = size_of(args_.dtype);
  auto* to = static_cast<std::byte*>(args_.gather_into);
  const Range own = chunk_of(channel_->rank(), chunk);
  std::vector<Outgoing> sends;
  std::vector<Incoming> receives;
  for (int peer = 0; peer < channel_->size(); ++peer) {
    if (peer == channel_->rank()) continue;
    const Range theirs = chunk_of(peer, chunk);
    if (own.count > 0) sends.push_back({peer, to + own.begin * size, own.count * size});
    if (theirs.count > 0) receives.push_back({peer, to + theirs.begin * size, theirs.count * size});
  }
  gather_.push_back(channel_->exchange(sends, receives, tag_ + 1));
}

bool PiecewiseReduce::advance() {
  if (is_done) return false;
  bool has_moved = false;
  while (true) {
    while (sent_ < chunks_ && sent_ < added_ + kSlots) {
      send_chunk(sent_++);
      has_moved = true;
    }
    if (added_ == sent_ || !scatter_[static_cast<size_t>(added_ % kSlots)]->done()) break;
    add_chunk(added_);
    if (args_.gather_into) gather_chunk(added_);
    ++added_;
    has_moved = true;
  }
  while (!gather_.empty() && gather_.front()->done()) {
    gather_.pop_front();
    has_moved = true;
  }
  is_done = added_ == chunks_ && gather_.empty();
  return has_moved || is_done;
}

int PiecewiseReduce::missing_peer() const {
  if (added_ < sent_) return scatter_[static_cast<size_t>(added_ % kSlots)]->missing_peer();
  return gather_.empty() ? -1 : gather_.front()->missing_peer();
}

}  // namespace switchyard::comm
