// What the NCCL stand-in refuses (refusal_table.h).
#pragma once

#include "tests/simgpu/nccl_communicator.h"
#include "tests/simgpu/refusal_table.h"

#include <nccl.h>

namespace switchyard::simgpu::nccl {

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
