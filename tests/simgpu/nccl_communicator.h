// One rank's end of a communicator: a file in shared memory that all ranks map, named by the unique id and unlinked as
// soon as all have it. A rank holds a lock on its byte of the file as long as its process lives, so that the others see
// it die, however it dies. Shared memory holds a seat a rank and a byte ring for each ordered pair of ranks.
#pragma once

#include <nccl.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace switchyard::simgpu::nccl {

class Ring {  // of one writing and one reading process
 public:
  size_t put(const uint8_t* from, size_t bytes);  // as much as there is room for
  size_t take(uint8_t* to, size_t bytes);         // as much as there is

 private:
  static constexpr size_t kBytes = 1 << 16;
  std::atomic<uint64_t> written_, taken_;
  uint8_t bytes_[kBytes];
};

enum class Presence : uint32_t { nobody, present, left, aborted };

struct Seat {  // written by its own rank, but for the accusation
  std::atomic<Presence> presence;
  int ranks, device;
  std::atomic<uint32_t> splits_written, splits_read;
  int color, key;
  char doing[160];                // what the rank is in, for the reports of others
  std::atomic<uint32_t> accused;  // 1: being written, 2: written
  char accusation[400];           // a mismatch that another rank has found
};

class Communicator {
 public:
  // Blocks until all have come; null with `result` set if they do not, or may not.
  static std::shared_ptr<Communicator> join(const std::string& name, int ranks, int rank, int world_rank,
                                            ncclResult_t* result);
  ~Communicator();

  // Blocks; null for the color NCCL_SPLIT_NOCOLOR.
  std::shared_ptr<Communicator> split(int color, int key, ncclResult_t* result);

  Seat& seat(int peer) { return seats_[peer]; }
  Ring& ring(int from, int to);
  std::string fate(int peer);  // why nothing more will come from it, or ""
  void accuse(int peer, const std::string& text);
  void fail(ncclResult_t result, const std::string& text);  // the first one stays, and is printed
  void abort();

  const std::string name;
  const int ranks, rank, world_rank;
  int device = 0;
  std::atomic<ncclResult_t> error{ncclSuccess};
  std::atomic<bool> aborted{false};
  uint32_t operations = 0;  // collectives so far

 private:
  Communicator(std::string name, int ranks, int rank, int world_rank);
  ncclResult_t open();
  ncclResult_t await(const char* what, const std::function<bool(Seat&)>& ready);
  bool has_died(int peer) const;

  int file_ = -1;
  size_t bytes_ = 0;
  Seat* seats_ = nullptr;
};

double timeout_seconds();  // SIMGPU_NCCL_TIMEOUT, 20 by default: no progress for so long is a deadlock
std::string new_name();    // of a communicator yet to be; sweeps what dead processes left
void set_last_error(const std::string& text);
const char* last_error();

}  // namespace switchyard::simgpu::nccl
