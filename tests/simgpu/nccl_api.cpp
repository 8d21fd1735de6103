// Stand-in for libnccl.so.2 between the processes of one machine: the calls that the backend makes, under NVIDIA's own
// header. Calls check and enqueue; only making and splitting a communicator waits for the other ranks. What NCCL takes
// and this one does not know is a finding (exit code 66), never ignored.
#include "tests/simgpu/library.h"
#include "tests/simgpu/nccl.h"

#include <unistd.h>

#include <cstring>
#include <map>
#include <mutex>

using namespace switchyard::simgpu;
using namespace switchyard::simgpu::nccl;

namespace {

std::mutex comms_mutex;
auto& comms = *new std::map<const void*, std::shared_ptr<Communicator>>;  // by handle; operations may outlive main

struct Group {
  int depth = 0;
  ncclResult_t error = ncclSuccess;  // the first of a call inside; ncclGroupEnd returns it
  std::vector<Request> requests;
};
thread_local Group group;

std::shared_ptr<Communicator> find(ncclComm_t handle) {
  const std::lock_guard hold(comms_mutex);
  const auto found = comms.find(handle);
  return found == comms.end() ? nullptr : found->second;
}

ncclComm_t add(std::shared_ptr<Communicator> comm) {  // none: a rank that is in no part of a split, or an error
  if (!comm) return nullptr;
  const std::lock_guard hold(comms_mutex);
  const auto handle = reinterpret_cast<ncclComm_t>(comm.get());
  comms[handle] = std::move(comm);
  return handle;
}

ncclResult_t not_simulated(const std::string& what) {
  report("not simulated", what, "NCCL with " + what + ": teach tests/simgpu, or do without");
  return ncclInvalidUsage;
}

bool has_unmatched_self(const std::vector<Request>& requests) {
  std::map<const Communicator*, int> surplus;
  for (const Request& r : requests)
    if (r.is_to_self()) surplus[r.comm.get()] += r.kind == Kind::send ? 1 : -1;
  for (const auto& [comm, difference] : surplus)
    if (difference != 0) return true;
  return false;
}

// Puts what has been collected on its stream.
ncclResult_t flush(Group taken) {
  if (taken.error != ncclSuccess || taken.requests.empty()) return taken.error;
  const Call call{.is_unmatched_self = has_unmatched_self(taken.requests)};
  if (const ncclResult_t result = check(kGroupEnd, "ncclGroupEnd", call)) return result;
  for (const Request& r : taken.requests)
    if (r.stream != taken.requests.front().stream) return not_simulated("a group that uses several streams");
  return enqueue(std::move(taken.requests)) == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}

ncclResult_t checked(const char* name, Request& request, ncclComm_t handle) {
  request.comm = find(handle);
  const Call call{
      .comm = handle, .live = request.comm.get(), .type = request.type, .op = request.op, .peer = request.peer};
  const bool reduces = request.kind <= Kind::reduce;
  if (const ncclResult_t result = check(reduces ? kReduce : kMove, name, call)) return result;
  if (request.comm->error != ncclSuccess) return request.comm->error;
  if (bytes_of(request.type) == 0) return not_simulated("type " + std::to_string(request.type));
  if (reduces && request.op != ncclSum && request.op != ncclMax && request.op != ncclMin)
    return not_simulated("op " + std::to_string(request.op));
  return ncclSuccess;
}

ncclResult_t submit(const char* name, ncclComm_t handle, Request request) {
  const ncclResult_t result = checked(name, request, handle);
  if (result != ncclSuccess) {
    if (group.depth > 0 && group.error == ncclSuccess) group.error = result;
    return result;
  }
  if (!request.is_pair()) request.sequence = ++request.comm->operations;
  group.requests.push_back(std::move(request));
  return group.depth > 0 ? ncclSuccess : flush(std::exchange(group, {}));
}

ncclResult_t erase(ncclComm_t handle, bool aborts) {
  if (handle == nullptr) return ncclSuccess;
  const auto comm = find(handle);  // operations in flight keep it until they end
  if (!comm) return ncclInvalidArgument;
  if (aborts) comm->abort();
  const std::lock_guard hold(comms_mutex);
  comms.erase(handle);
  return ncclSuccess;
}

}  // namespace

#define API extern "C" SIMGPU_EXPORT

API ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  if (const ncclResult_t result = check(kGlobal, "ncclGetUniqueId", {.out = id})) return result;
  std::memset(id, 0, sizeof *id);
  static std::atomic<int> count{0};
  std::snprintf(id->internal, sizeof id->internal, "simgpu-nccl-%d-%d", getpid(), count++);
  return ncclSuccess;
}
API ncclResult_t ncclCommInitRank(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank) {
  const Call call{.out = comm, .ranks = ranks, .rank = rank};
  if (const ncclResult_t result = check(kInit, "ncclCommInitRank", call)) return result;
  if (group.depth > 0) return not_simulated("ncclCommInitRank inside a group");
  ncclResult_t result = ncclSuccess;
  *comm = add(Communicator::join(id.internal, ranks, rank, rank, &result));
  return result;
}
API ncclResult_t ncclCommSplit(ncclComm_t handle, int color, int key, ncclComm_t* made, ncclConfig_t* config) {
  const auto comm = find(handle);
  const Call call{.comm = handle, .live = comm.get(), .out = made, .color = color};
  if (const ncclResult_t result = check(kSplit, "ncclCommSplit", call)) return result;
  if (group.depth > 0) return not_simulated("ncclCommSplit inside a group");
  if (config != nullptr) return not_simulated("a configuration");
  ncclResult_t result = ncclSuccess;
  *made = add(comm->split(color, key, &result));
  return result;
}
API ncclResult_t ncclCommDestroy(ncclComm_t handle) { return erase(handle, false); }
API ncclResult_t ncclCommAbort(ncclComm_t handle) { return erase(handle, true); }

API ncclResult_t ncclCommGetAsyncError(ncclComm_t handle, ncclResult_t* error) {
  const auto comm = find(handle);
  const Call call{.comm = handle, .live = comm.get(), .out = error};
  if (const ncclResult_t result = check(kQuery, "ncclCommGetAsyncError", call)) return result;
  *error = comm->error;
  return ncclSuccess;
}
API const char* ncclGetErrorString(ncclResult_t result) {  // in the genuine library's words
  switch (result) {
    case ncclSuccess: return "no error";
    case ncclUnhandledCudaError: return "unhandled cuda error (run with NCCL_DEBUG=INFO for details)";
    case ncclSystemError: return "unhandled system error (run with NCCL_DEBUG=INFO for details)";
    case ncclInvalidArgument: return "invalid argument (run with NCCL_DEBUG=WARN for details)";
    case ncclInvalidUsage: return "invalid usage (run with NCCL_DEBUG=WARN for details)";
    case ncclRemoteError: return "remote process exited or there was a network error";
    default: return "unknown result code";
  }
}
API const char* ncclGetLastError(ncclComm_t) { return last_error(); }

API ncclResult_t ncclGroupStart() {
  ++group.depth;
  return ncclSuccess;
}
API ncclResult_t ncclGroupEnd() {
  if (const ncclResult_t result = check(kGroupEnd, "ncclGroupEnd", {.depth = group.depth})) return result;
  return --group.depth > 0 ? ncclSuccess : flush(std::exchange(group, {}));
}
API ncclResult_t ncclSend(const void* send, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                          cudaStream_t stream) {
  return submit("ncclSend", comm, {Kind::send, send, nullptr, count, type, ncclSum, peer, stream});
}
API ncclResult_t ncclRecv(void* receive, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                          cudaStream_t stream) {
  return submit("ncclRecv", comm, {Kind::receive, nullptr, receive, count, type, ncclSum, peer, stream});
}
API ncclResult_t ncclAllReduce(const void* send, void* receive, size_t count, ncclDataType_t type, ncclRedOp_t op,
                               ncclComm_t comm, cudaStream_t stream) {
  return submit("ncclAllReduce", comm, {Kind::all_reduce, send, receive, count, type, op, 0, stream});
}
API ncclResult_t ncclReduceScatter(const void* send, void* receive, size_t count, ncclDataType_t type, ncclRedOp_t op,
                                   ncclComm_t comm, cudaStream_t stream) {
  return submit("ncclReduceScatter", comm, {Kind::reduce_scatter, send, receive, count, type, op, 0, stream});
}
API ncclResult_t ncclReduce(const void* send, void* receive, size_t count, ncclDataType_t type, ncclRedOp_t op,
                            int root, ncclComm_t comm, cudaStream_t stream) {
  return submit("ncclReduce", comm, {Kind::reduce, send, receive, count, type, op, root, stream});
}
API ncclResult_t ncclAllGather(const void* send, void* receive, size_t count, ncclDataType_t type, ncclComm_t comm,
                               cudaStream_t stream) {
  return submit("ncclAllGather", comm, {Kind::all_gather, send, receive, count, type, ncclSum, 0, stream});
}
