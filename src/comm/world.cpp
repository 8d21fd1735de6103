// Groups from the transport, and the first ranks as a world of their own.
#include "switchyard/comm/world.h"

#include "comm/channel.h"
#ifdef SWITCHYARD_HAVE_CUDA
#include "comm/cuda/nccl.h"
#endif

#include <algorithm>
#include <cstdlib>
#include <numeric>

namespace switchyard::comm {
namespace {

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

World::World(std::shared_ptr<Transport> transport)
    : transport_(std::move(transport)), all_(transport_->all()), machines_(transport_->nodes()), nodes_(machines_) {}

World World::self() { return World(make_self_transport()); }

void World::open(Device device) {
  if (device == Device::cpu) return;
#ifdef SWITCHYARD_HAVE_CUDA
  device_transport_ = make_nccl_transport(all_);
  all_ = Group(transport_->all(), device_transport_->all());
#else
  fail(ExitCode::usage, "ranks on {}: this program has no CUDA", name_of(device));
#endif
}

Group World::split(const std::vector<int>& asked) const {
  const std::vector<int> ranks = asked.empty() ? std::vector{rank()} : asked;
  const auto me = std::find(ranks.begin(), ranks.end(), rank());
  check(me != ranks.end(), "split: rank {} is not a member of its group", rank());
  check(std::adjacent_find(ranks.begin(), ranks.end(), std::greater_equal<>()) == ranks.end() && ranks.front() >= 0 &&
            ranks.back() < size(),
        "split: ranks are not ascending within a world of {}", size());
  const int place = static_cast<int>(me - ranks.begin());
  return Group(ranks.size() == 1 ? make_self_channel(rank()) : transport_->split(place, ranks),
               device_transport_ ? device_transport_->split(place, ranks) : nullptr);
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

int64_t World::rank_on_this_machine() const {
  return std::count(machines_.begin(), machines_.begin() + rank(), machines_[static_cast<size_t>(rank())]);
}

void World::abort(int code) const {
  transport_->abort(code);
  std::abort();  // not reached: tells the compiler so
}

}  // namespace switchyard::comm
