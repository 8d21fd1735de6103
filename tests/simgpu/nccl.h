// The NCCL stand-in. One rank's end of a communicator: a file in shared memory that all ranks map, named by the unique
// id and unlinked as soon as all have it. A rank holds a lock on its byte of the file as long as its process lives, so
// that the others see it die, however it dies. Shared memory holds a seat a rank and a byte ring for each ordered pair
// of ranks.
#pragma once

#include <nccl.h>
#include <functional>

#include <atomic>
#include <cstddef>
#include <memory>
#include <vector>

#include "tests/simgpu/refusal_table.h"

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
  Communicator(const std::string& name_, int ranks_, int rank_, int world_rank_)
      : name(name_), ranks(ranks_), rank(rank_), world_rank(world_rank_) {}
  ncclResult_t open();
  ncclResult_t await(const char* what, const std::function<bool(Seat&)>& ready);
  bool has_died(int peer) const;

  int file_ = -1;
  size_t bytes_ = 0;
  Seat* seats_ = nullptr;
};

double timeout_seconds();  // SIMGPU_NCCL_TIMEOUT, 20 by default: no progress for so long is a deadlock
void set_last_error(const std::string& text);
const char* last_error();

// ---- calls

enum class Kind : uint32_t { all_reduce, reduce_scatter, reduce, all_gather, send, receive };

size_t bytes_of(ncclDataType_t type);  // 0: not simulated

struct Request {
  Kind kind;
  const void* send;
  void* receive;
  size_t count;
  ncclDataType_t type;
  ncclRedOp_t op;
  int peer;  // or root
  cudaStream_t stream;
  std::shared_ptr<Communicator> comm{};
  uint32_t sequence = 0;  // of the collective in its communicator; 0 for send and receive
  bool is_pair() const { return kind == Kind::send || kind == Kind::receive; }
  bool is_to_self() const { return is_pair() && peer == comm->rank; }
  size_t bytes() const { return count * bytes_of(type); }
};

cudaError_t enqueue(std::vector<Request> requests);  // all of one stream

// ---- what is refused (refusal_table.h)

enum CallName : unsigned { kGlobal = 1, kInit = 2, kSplit = 4, kQuery = 8, kReduce = 16, kMove = 32, kGroupEnd = 64 };

// The arguments of any of the calls; each fills in what it has.
struct Call {
  const void* comm = nullptr;          // as given
  const Communicator* live = nullptr;  // what is behind it
  const void* out = nullptr;
  int ranks = 1, rank = 0;
  int color = 0;
  int type = 0, op = 0, peer = 0;
  int depth = 1;                   // of groups
  bool is_unmatched_self = false;  // a group with more sends to itself than receives, or fewer
};

using C = const Call&;
constexpr unsigned kOnComm = kSplit | kQuery | kReduce | kMove;
constexpr const char* kCollectives = "Collective Communication Functions";
constexpr const char* kCreation = "Communicator Creation and Management Functions";

constexpr RefusalRow<Call, ncclResult_t> kRefusals[] = {
    {kGlobal, "null result pointer", ncclInvalidArgument, kCreation, [](C c) { return !c.out; }},
    {kInit | kSplit, "null communicator pointer", ncclInvalidArgument, kCreation, [](C c) { return !c.out; }},
    {kInit, "rank not below ranks", ncclInvalidArgument, "ncclCommInitRank",
     [](C c) { return c.ranks < 1 || c.rank < 0 || c.rank >= c.ranks; }},
    {kOnComm, "null communicator", ncclInvalidArgument, kCollectives, [](C c) { return !c.comm; }},
    {kOnComm, "destroyed communicator", ncclInvalidArgument, kCollectives, [](C c) { return !c.live; }},
    {kQuery, "null result pointer", ncclInvalidArgument, kCreation, [](C c) { return !c.out; }},
    {kSplit, "color below NCCL_SPLIT_NOCOLOR", ncclInvalidArgument, "ncclCommSplit",
     [](C c) { return c.color < NCCL_SPLIT_NOCOLOR; }},
    {kReduce | kMove, "type", ncclInvalidArgument, "ncclDataType_t",
     [](C c) { return c.type < 0 || c.type >= ncclNumTypes; }},
    {kReduce, "op", ncclInvalidArgument, "ncclRedOp_t", [](C c) { return c.op < 0 || c.op >= ncclNumOps; }},
    {kReduce | kMove, "peer or root not a rank", ncclInvalidArgument, kCollectives,
     [](C c) { return c.peer < 0 || c.peer >= c.live->ranks; }},
    {kGroupEnd, "no group open", ncclInvalidUsage, "Group Calls", [](C c) { return c.depth < 1; }},
    {kGroupEnd, "send to self without receive, or the reverse", ncclInvalidUsage, "Point To Point Communication",
     [](C c) { return c.is_unmatched_self; }},
};

inline ncclResult_t check(CallName bit, const char* name, const Call& call) {
  const ncclResult_t result = first_refusal<Call, ncclResult_t>(kRefusals, bit, name, call);
  if (result != ncclSuccess) set_last_error(std::string(name) + " refused its arguments");
  return result;
}

}  // namespace switchyard::simgpu::nccl
