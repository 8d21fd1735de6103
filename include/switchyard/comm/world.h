// Where groups come from.
#pragma once

#include "switchyard/comm/group.h"

namespace switchyard::comm {

class Transport;

// All ranks of the job and the transport between them.
class World {
 public:
  static World self();  // one rank, no library started
  // The ranks that a launcher started; without a launcher the same as self().
  static World mpi(int* argc, char*** argv);
  static std::vector<World> threads(int n);  // n ranks of one process, each to be used by a thread of its own

  int rank() const { return all_.rank(); }
  int size() const { return all_.size(); }
  const Group& all() const { return all_; }
  // Groups that are made from now on have a way to memory on `device`, all() too. Collective.
  void open(Device device);

  // Ascending, this rank among them. Each call gives a group with an order of calls of its own. Only these ranks call;
  // where a device is open every rank of the world calls, each with its group, or with none and gets itself alone.
  Group split(const std::vector<int>& ranks) const;

  // The first `count` ranks as a world of their own; only these ranks call.
  World first(int count) const;

  // Node of each rank: 0, 1, ... in the order of their first ranks. From shared memory, or as the user says.
  const std::vector<int>& nodes() const { return nodes_; }
  void set_ranks_per_node(int64_t count);                                 // 0: keep what the launcher says
  int machine() const { return machines_[static_cast<size_t>(rank())]; }  // from shared memory, whatever the user says
  int64_t ranks_on_this_machine() const;
  int64_t rank_on_this_machine() const;  // of them: 0 for the first

  // Ends all ranks of the job; ranks that are threads get an Error from the collective they wait in.
  [[noreturn]] void abort(int code) const;

 private:
  explicit World(std::shared_ptr<Transport> transport);
  std::shared_ptr<Transport> transport_, device_transport_;  // null: host memory alone
  Group all_;
  std::vector<int> machines_, nodes_;
};

}  // namespace switchyard::comm
