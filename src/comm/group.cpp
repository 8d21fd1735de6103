// Checks of arguments, and the way to the channel.
#include "switchyard/comm/group.h"

#include "comm/channel.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <numeric>

namespace switchyard::comm {
namespace {

std::vector<int64_t> in_bytes(std::span<const int64_t> counts, DType dtype, int size) {
  check(static_cast<int>(counts.size()) == size, "collective: {} counts for a group of {}", counts.size(), size);
  std::vector<int64_t> bytes(counts.begin(), counts.end());
  for (int64_t& b : bytes) {
    check(b >= 0, "collective: negative count {}", b);
    b *= size_of(dtype);
  }
  return bytes;
}

int64_t sum(std::span<const int64_t> bytes) { return std::accumulate(bytes.begin(), bytes.end(), int64_t{0}); }

// "0 to 6 by 2", or all of them.
std::string text_of(const std::vector<int>& ranks) {
  if (ranks.size() > 2) {
    const int step = ranks[1] - ranks[0];
    const auto is_next = [&](int a, int b) { return b - a == step; };
    if (std::adjacent_find(ranks.begin(), ranks.end(), std::not_fn(is_next)) == ranks.end())
      return fmt::format("{} to {} by {}", ranks.front(), ranks.back(), step);
  }
  return fmt::format("{}", fmt::join(ranks, " "));
}

}  // namespace

Work::Work(std::shared_ptr<Operation> operation) : operation_(std::move(operation)) {}

Work& Work::operator=(Work&& other) noexcept {
  if (this == &other) return *this;
  const Work old(std::move(operation_));  // waits at the end of this scope
  operation_ = std::move(other.operation_);
  return *this;
}

// A failed wait is dropped here: whoever needs the result calls wait().
Work::~Work() {
  try {
    wait();
  } catch (const std::exception&) {
  }
}

void Work::wait() {
  if (!operation_) return;
  const auto operation = std::move(operation_);
  operation_ = nullptr;
  {
    const Range waiting(operation->range.name(), RangeKind::wait);
    operation->wait();
  }
  operation->range.end();
}

bool Work::done() {
  if (operation_ && !operation_->is_done) operation_->engine ? operation_->engine->poll() : operation_->advance();
  if (operation_ && operation_->is_done) operation_->range.end();
  return !operation_ || operation_->is_done;
}

Group::Group() : channel_(make_self_channel(0)) {}
int Group::rank() const { return channel_->rank(); }
int Group::size() const { return channel_->size(); }
const std::vector<int>& Group::ranks() const { return channel_->ranks(); }

// Starts it, and tells those who listen.
template <class Start>
Work Group::tell(const char* name, int64_t bytes, Start&& start) const {
  if (!innermost_listener || size() == 1) return start();
  TransferRange transfer(name, [&] {
    return std::vector<Detail>{{"bytes", bytes}, {"ranks", text_of(ranks())}, {"size", int64_t{size()}}};
  });
  Work work = start();
  if (work.operation_) work.operation_->range = std::move(transfer);
  return work;
}

Work Group::all_reduce(void* data, int64_t count, DType dtype, Reduce how) const {
  check(count >= 0, "all_reduce: {} elements", count);
  return tell("all_reduce", count * size_of(dtype), [&] { return channel_->all_reduce(data, count, dtype, how); });
}

Work Group::all_gather(const void* send, void* recv, int64_t count_per_rank, DType dtype) const {
  const std::vector<int64_t> counts(static_cast<size_t>(size()), count_per_rank);
  return all_gather_v(send, count_per_rank, recv, counts, dtype);
}

Work Group::all_gather_v(const void* send, int64_t send_count, void* recv, std::span<const int64_t> counts,
                         DType dtype) const {
  const auto bytes = in_bytes(counts, dtype, size());
  check(send_count == counts[static_cast<size_t>(rank())], "all_gather: rank {} sends {} elements, counts say {}",
        rank(), send_count, counts[static_cast<size_t>(rank())]);
  meter(std::vector<int64_t>(bytes.size(), bytes[static_cast<size_t>(rank())]), dtype);
  return tell("all_gather", send_count * size_of(dtype), [&] { return channel_->all_gather(send, recv, bytes); });
}

Work Group::reduce_scatter(const void* send, void* recv, int64_t count_per_rank, DType dtype, Reduce how) const {
  const std::vector<int64_t> counts(static_cast<size_t>(size()), count_per_rank);
  return reduce_scatter_v(send, recv, counts, dtype, how);
}

Work Group::reduce_scatter_v(const void* send, void* recv, std::span<const int64_t> counts, DType dtype,
                             Reduce how) const {
  const auto bytes = in_bytes(counts, dtype, size());
  meter(bytes, dtype);
  return tell("reduce_scatter", sum(bytes), [&] { return channel_->reduce_scatter(send, recv, counts, dtype, how); });
}

Work Group::all_to_all_v(const void* send, std::span<const int64_t> send_counts, void* recv,
                         std::span<const int64_t> recv_counts, DType dtype) const {
  const auto send_bytes = in_bytes(send_counts, dtype, size()), recv_bytes = in_bytes(recv_counts, dtype, size());
  const auto me = static_cast<size_t>(rank());
  check(send_bytes[me] == recv_bytes[me], "all_to_all: rank {} sends itself {} elements and receives {}", rank(),
        send_counts[me], recv_counts[me]);
  meter(send_bytes, dtype);
  return tell("all_to_all", sum(send_bytes), [&] { return channel_->all_to_all(send, send_bytes, recv, recv_bytes); });
}

// A gather to which the root alone gives a part.
Work Group::broadcast(void* data, int64_t bytes, int root) const {
  check(bytes >= 0 && root >= 0 && root < size(), "broadcast: {} bytes from rank {} of {}", bytes, root, size());
  std::vector<int64_t> parts(static_cast<size_t>(size()), 0);
  parts[static_cast<size_t>(root)] = bytes;
  return tell("broadcast", bytes, [&] { return channel_->all_gather(data, data, parts); });
}

void Group::barrier() const {
  int32_t token = 0;
  all_reduce(&token, 1, DType::i32).wait();
}

Group Group::on(Device device) const {
  if (device == Device::cpu) return *this;
  check(device_channel_ != nullptr, "a group of {} ranks has no way to memory on {}", size(), name_of(device));
  Group group = *this;
  group.channel_ = device_channel_;
  return group;
}

Group Group::metered(std::shared_ptr<Traffic> traffic) const {
  Group group = *this;
  group.traffic_ = std::move(traffic);
  return group;
}

void Group::meter(std::span<const int64_t> bytes, DType dtype) const {
  if (!traffic_ || !is_floating(dtype)) return;
  for (size_t peer = 0; peer < bytes.size(); ++peer)
    traffic_->add(ranks()[static_cast<size_t>(rank())], ranks()[peer], bytes[peer]);
}

std::string Group::last_started() const { return channel_->last_started(); }

}  // namespace switchyard::comm
