// What a transport implements: a Channel per group, made by the Transport of the world. Operations that are under way
// belong to the rank's Engine, which moves all of them while it waits for one: ranks may wait in different orders.
#pragma once

#include "switchyard/comm/group.h"
#include "switchyard/device/range.h"

#include <atomic>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace switchyard::comm {

class Engine;

// One collective under way on one rank.
class Operation {
 public:
  virtual ~Operation() = default;
  virtual bool advance() = 0;                      // does what can be done now; true if something was
  virtual int missing_peer() const { return -1; }  // rank in the world that this waits for; -1: none, or not known
  virtual void wait();                             // until its results may be used
  bool is_done = false;
  std::shared_ptr<Engine> engine;  // set by Engine::start
  TransferRange range;             // ends when its results may be used
};

class Engine : public std::enable_shared_from_this<Engine> {
 public:
  virtual ~Engine() = default;
  Work start(std::shared_ptr<Operation> operation, const char* name);  // name: lives for ever
  void wait(Operation& operation);
  bool poll();                       // advances every operation once; true if one moved
  std::string last_started() const;  // name, number, and the rank that is waited for; any thread may ask

 protected:
  virtual uint64_t events() { return 0; }  // messages that have arrived so far
  virtual void idle(uint64_t seen) = 0;    // nothing moved: give way, or sleep until there are more events than seen

 private:
  std::vector<std::shared_ptr<Operation>> under_way_;
  bool has_failed_ = false;
  std::atomic<const char*> last_name_{"none"};
  std::atomic<int64_t> num_started_{0};
  std::atomic<int> waits_for_{-1};  // rank in the world; -1: not for long
};

class Channel {
 public:
  Channel(int rank, std::vector<int> ranks) : rank_(rank), ranks_(std::move(ranks)) {}
  virtual ~Channel() = default;
  int rank() const { return rank_; }
  int size() const { return static_cast<int>(ranks_.size()); }
  const std::vector<int>& ranks() const { return ranks_; }

  // Arguments are checked by Group. Byte counts where no arithmetic is done.
  virtual Work all_reduce(void* data, int64_t count, DType dtype, Reduce how) = 0;
  virtual Work all_gather(const void* send, void* recv, std::span<const int64_t> bytes) = 0;
  virtual Work reduce_scatter(const void* send, void* recv, std::span<const int64_t> counts, DType dtype,
                              Reduce how) = 0;
  virtual Work all_to_all(const void* send, std::span<const int64_t> send_bytes, void* recv,
                          std::span<const int64_t> recv_bytes) = 0;
  virtual std::string last_started() const { return "none"; }  // any thread may ask

 private:
  int rank_;
  std::vector<int> ranks_;
};

class Transport {
 public:
  virtual ~Transport() = default;
  virtual std::shared_ptr<Channel> all() = 0;
  virtual std::shared_ptr<Channel> split(int rank, const std::vector<int>& ranks) = 0;  // rank: index in ranks
  virtual std::vector<int> nodes() = 0;                                                 // (world) node of each rank
  [[noreturn]] virtual void abort(int code) = 0;
};

std::shared_ptr<Channel> make_self_channel(int world_rank);
std::shared_ptr<Transport> make_self_transport();

}  // namespace switchyard::comm
