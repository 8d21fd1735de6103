// Group and World: checks of arguments, and the way to the transport.
#include "switchyard/comm/group.h"

#include "comm/channel.h"

#include <algorithm>
#include <cstdlib>
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

// Ranks keep their numbers, so groups are made as the whole world makes them.
class FirstRanks final : public Transport {
 public:
  FirstRanks(std::shared_ptr<Transport> whole, int rank, std::vector<int> machines)
      : whole_(std::move(whole)), rank_(rank), machines_(std::move(machines)) {}
  std::shared_ptr<Channel> all() override {
    if (machines_.size() == 1) return make_self_channel(rank_);
    std::vector<int> ranks(machines_.size());
    std::iota(ranks.begin(), ranks.end(), 0);
    return split(rank_, ranks);
  }
  std::shared_ptr<Channel> split(int rank, const std::vector<int>& ranks) override {
    return whole_->split(rank, ranks);
  }
  std::vector<int> nodes() override { return machines_; }
  [[noreturn]] void abort(int code) override {
    whole_->abort(code);
    std::abort();  // not reached: tells the compiler so
  }

 private:
  std::shared_ptr<Transport> whole_;
  int rank_;
  std::vector<int> machines_;
};

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
  operation->engine->wait(*operation);
}

bool Work::done() {
  if (operation_ && !operation_->is_done) operation_->engine->poll();
  return !operation_ || operation_->is_done;
}

Group::Group() : channel_(make_self_channel(0)) {}
int Group::rank() const { return channel_->rank(); }
int Group::size() const { return channel_->size(); }
const std::vector<int>& Group::ranks() const { return channel_->ranks(); }

Work Group::all_reduce(void* data, int64_t count, DType dtype, Reduce how) const {
  check(count >= 0, "all_reduce: {} elements", count);
  return channel_->all_reduce(data, count, dtype, how);
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
  return channel_->all_gather(send, recv, bytes);
}

Work Group::reduce_scatter(const void* send, void* recv, int64_t count_per_rank, DType dtype, Reduce how) const {
  const std::vector<int64_t> counts(static_cast<size_t>(size()), count_per_rank);
  return reduce_scatter_v(send, recv, counts, dtype, how);
}

Work Group::reduce_scatter_v(const void* send, void* recv, std::span<const int64_t> counts, DType dtype,
                             Reduce how) const {
  meter(in_bytes(counts, dtype, size()), dtype);
  return channel_->reduce_scatter(send, recv, counts, dtype, how);
}

Work Group::all_to_all_v(const void* send, std::span<const int64_t> send_counts, void* recv,
                         std::span<const int64_t> recv_counts, DType dtype) const {
  const auto send_bytes = in_bytes(send_counts, dtype, size()), recv_bytes = in_bytes(recv_counts, dtype, size());
  const auto me = static_cast<size_t>(rank());
  check(send_bytes[me] == recv_bytes[me], "all_to_all: rank {} sends itself {} elements and receives {}", rank(),
        send_counts[me], recv_counts[me]);
  meter(send_bytes, dtype);
  return channel_->all_to_all(send, send_bytes, recv, recv_bytes);
}

Work Group::broadcast(void* data, int64_t bytes, int root) const {
  check(bytes >= 0 && root >= 0 && root < size(), "broadcast: {} bytes from rank {} of {}", bytes, root, size());
  return channel_->broadcast(data, bytes, root);
}

void Group::barrier() const {
  int32_t token = 0;
  all_reduce(&token, 1, DType::i32).wait();
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

World::World(std::shared_ptr<Transport> transport)
    : transport_(std::move(transport)), all_(transport_->all()), machines_(transport_->nodes()), nodes_(machines_) {}

World World::self() { return World(make_self_transport()); }

Group World::split(const std::vector<int>& ranks) const {
  const auto me = std::find(ranks.begin(), ranks.end(), rank());
  check(me != ranks.end(), "split: rank {} is not a member of its group", rank());
  check(std::adjacent_find(ranks.begin(), ranks.end(), std::greater_equal<>()) == ranks.end() && ranks.front() >= 0 &&
            ranks.back() < size(),
        "split: ranks are not ascending within a world of {}", size());
  if (ranks.size() == 1) return Group(make_self_channel(rank()));
  return Group(transport_->split(static_cast<int>(me - ranks.begin()), ranks));
}

World World::first(int count) const {
  check(rank() < count && count <= size(), "the first {} ranks: rank {} of {} calls", count, rank(), size());
  return World(
      std::make_shared<FirstRanks>(transport_, rank(), std::vector<int>(machines_.begin(), machines_.begin() + count)));
}

void World::set_ranks_per_node(int64_t count) {
  if (count == 0) return;
  check(count > 0 && size() % count == 0, "nodes of {} ranks in a world of {}", count, size());
  for (int r = 0; r < size(); ++r) nodes_[static_cast<size_t>(r)] = static_cast<int>(r / count);
}

int64_t World::ranks_on_this_machine() const {
  return std::count(machines_.begin(), machines_.end(), machines_[static_cast<size_t>(rank())]);
}

void World::abort(int code) const {
  transport_->abort(code);
  std::abort();  // not reached: tells the compiler so
}

}  // namespace switchyard::comm
