// Ranks that are threads of one process, for tests. A message is copied into a mailbox when it is sent and out of it
// when it is received; one mutex guards all mailboxes. When every rank waits and no message is left, or a rank has
// failed, all waiting ranks get an Error: a mistake in a test is a message, never a hang.
#include "comm/host_channel.h"
#include "comm/host_copy.h"
#include "switchyard/comm/world.h"

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <tuple>

namespace switchyard::comm {
namespace {

// What all ranks share. Public members are called by any rank.
class Hub {
 public:
  explicit Hub(int size) : size_(size) {}
  using Address = std::tuple<int, int64_t, int, int>;  // channel, tag, from, to

  // The same number for all members that make their nth group of these ranks.
  int channel_id(const std::vector<int>& ranks, int nth) {
    const std::lock_guard lock(mutex_);
    return channels_.try_emplace({ranks, nth}, static_cast<int>(channels_.size())).first->second;
  }

  void put(const Address& address, const void* data, int64_t bytes) {
    const auto* begin = static_cast<const std::byte*>(data);
    std::vector<std::byte> message(begin, begin + bytes);
    const std::lock_guard lock(mutex_);
    mail_[address].push_back(std::move(message));
    wake();
  }

  bool take(const Address& address, void* data, int64_t bytes) {
    std::vector<std::byte> message;
    {
      const std::lock_guard lock(mutex_);
      const auto box = mail_.find(address);
      if (box == mail_.end()) return false;
      message = std::move(box->second.front());
      box->second.pop_front();
      if (box->second.empty()) mail_.erase(box);
    }
    check(static_cast<int64_t>(message.size()) == bytes, "a message of {} bytes where {} were expected", message.size(),
          bytes);
    copy_bytes(message.data(), data, bytes);
    return true;
  }

  uint64_t events() {
    const std::lock_guard lock(mutex_);
    return events_;
  }

  void sleep(uint64_t seen) {
    std::unique_lock lock(mutex_);
    if (events_ == seen && failure_.empty()) {
      ++waiting_;
      fail_if_stuck();
      changed_.wait(lock, [&] { return events_ != seen || !failure_.empty(); });
    }
    check(failure_.empty(), "{}", failure_);
  }

  void fail(const std::string& text) {
    const std::lock_guard lock(mutex_);
    if (failure_.empty()) failure_ = text;
    wake();
  }

  void leave() {
    const std::lock_guard lock(mutex_);
    ++left_;
    fail_if_stuck();
  }

 private:
  void wake() {
    ++events_;
    waiting_ = 0;  // each of them looks again before it waits again
    changed_.notify_all();
  }
  void fail_if_stuck() {
    if (waiting_ == 0 || waiting_ + left_ < size_) return;
    if (failure_.empty()) failure_ = "every rank waits for a message that nobody sends";
    wake();
  }

  const int size_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::pair<std::vector<int>, int>, int> channels_;
  std::map<Address, std::deque<std::vector<std::byte>>> mail_;
  uint64_t events_ = 0;
  int waiting_ = 0, left_ = 0;  // ranks that sleep, and that have ended
  std::string failure_;
};

class ThreadEngine final : public Engine {
 public:
  explicit ThreadEngine(std::shared_ptr<Hub> hub) : hub_(std::move(hub)) {}

 protected:
  uint64_t events() override { return hub_->events(); }
  void idle(uint64_t seen) override { hub_->sleep(seen); }

 private:
  std::shared_ptr<Hub> hub_;
};

class ThreadTransfer final : public Transfer {
 public:
  ThreadTransfer(std::shared_ptr<Hub> hub, std::span<const Incoming> receives, int channel, int64_t tag, int me)
      : hub_(std::move(hub)), missing_(receives.begin(), receives.end()), channel_(channel), tag_(tag), me_(me) {}
  bool done() override {
    std::erase_if(missing_, [&](const Incoming& m) {
      return hub_->take({channel_, tag_, m.peer, me_}, m.data, m.bytes);
    });
    return missing_.empty();
  }

 private:
  std::shared_ptr<Hub> hub_;
  std::vector<Incoming> missing_;
  int channel_;
  int64_t tag_;
  int me_;
};

class ThreadChannel final : public HostChannel {
 public:
  ThreadChannel(int rank, std::vector<int> ranks, std::shared_ptr<Engine> engine, std::shared_ptr<Hub> hub, int id)
      : HostChannel(rank, std::move(ranks), std::move(engine)), hub_(std::move(hub)), id_(id) {}
  std::unique_ptr<Transfer> exchange(std::span<const Outgoing> sends, std::span<const Incoming> receives,
                                     int64_t tag) override {
    for (const Outgoing& m : sends) hub_->put({id_, tag, rank(), m.peer}, m.data, m.bytes);
    return std::make_unique<ThreadTransfer>(hub_, receives, id_, tag, rank());
  }

 private:
  std::shared_ptr<Hub> hub_;
  int id_;
};

class ThreadTransport final : public Transport {
 public:
  ThreadTransport(int rank, int size, std::shared_ptr<Hub> hub)
      : rank_(rank), size_(size), hub_(std::move(hub)), engine_(std::make_shared<ThreadEngine>(hub_)) {}
  ~ThreadTransport() override { hub_->leave(); }

  std::shared_ptr<Channel> all() override {
    std::vector<int> ranks;
    for (int r = 0; r < size_; ++r) ranks.push_back(r);
    return size_ == 1 ? make_self_channel(0) : split(rank_, ranks);
  }
  std::shared_ptr<Channel> split(int rank, const std::vector<int>& ranks) override {
    const int id = hub_->channel_id(ranks, groups_made_[ranks]++);
    return std::make_shared<ThreadChannel>(rank, ranks, engine_, hub_, id);
  }
  std::vector<int> nodes() override { return std::vector<int>(static_cast<size_t>(size_), 0); }
  [[noreturn]] void abort(int code) override {
    hub_->fail(fmt::format("rank {} has failed with code {}", rank_, code));
    throw Error(static_cast<ExitCode>(code), "aborted");
  }

 private:
  int rank_, size_;
  std::shared_ptr<Hub> hub_;
  std::shared_ptr<Engine> engine_;
  std::map<std::vector<int>, int> groups_made_;
};

}  // namespace

std::vector<World> World::threads(int n) {
  check(n >= 1, "World::threads: {} ranks", n);
  const auto hub = std::make_shared<Hub>(n);
  std::vector<World> worlds;
  for (int r = 0; r < n; ++r) worlds.push_back(World(std::make_shared<ThreadTransport>(r, n, hub)));
  return worlds;
}

}  // namespace switchyard::comm
