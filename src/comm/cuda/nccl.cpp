// One communicator of all ranks, and one for each group, split from it. All calls are made by the rank's own thread on
// its communication stream, in program order. An operation begins when the compute stream has come to where it was
// started, and to wait for it is to let the compute stream wait: the host never does.
#include "comm/cuda/nccl.h"

#include "comm/call_check.h"
#include "comm/cuda/nccl_status.h"
#include "switchyard/base/cuda_status.h"
#include "switchyard/device/cuda.h"

#include <cuda_runtime_api.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <numeric>

namespace switchyard::comm {
namespace {

// What has been started, in any group: for the watchdog.
struct Progress {
  std::atomic<const char*> last_name{"none"};
  std::atomic<int64_t> num_started{0};
};

// The communicators of this rank: a failure of one is the end of all, or peers would wait in another.
class Communicators {
 public:
  explicit Communicators(int rank) : rank_(rank) {}
  void add(ncclComm_t comm) { open_.push_back(comm); }

  // Ending one waits for its peers; after an error they may be gone.
  void end(ncclComm_t comm) {
    const auto at = std::find(open_.begin(), open_.end(), comm);
    if (at == open_.end()) return;  // aborted
    if (std::uncaught_exceptions() > 0) return abort_all();
    open_.erase(at);
    ncclCommDestroy(comm);
  }

  // Throws Error(internal) if one has failed, after all were aborted. Of several ranks that fail together the first
  // speaks.
  void require_health(const Progress& progress) {
    for (ncclComm_t comm : open_) {
      ncclResult_t state = ncclSuccess;
      check_nccl(ncclCommGetAsyncError(comm, &state), "ncclCommGetAsyncError", comm);
      if (state == ncclSuccess || state == ncclInProgress) continue;
      const std::string words = words_of(state, comm);
      abort_all();
      blame_cuda(state, progress.last_name.load());
      if (state == ncclRemoteError || rank_ > 0) await_message_of_peer();
      fail(ExitCode::internal, "NCCL failed, last started here: {}, number {}: {}", progress.last_name.load(),
           progress.num_started.load(), words);
    }
  }

 private:
  // In one group: one by one, the end of one could wait for a kernel of another that waits for a peer (NVIDIA/nccl,
  // issue 1013).
  void abort_all() {
    ncclGroupStart();
    for (ncclComm_t comm : std::exchange(open_, {})) ncclCommAbort(comm);
    ncclGroupEnd();
  }

  int rank_;
  std::vector<ncclComm_t> open_;
};

class Communicator {
 public:
  Communicator(ncclComm_t comm, std::shared_ptr<Communicators> all) : comm_(comm), all_(std::move(all)) {
    all_->add(comm);
  }
  ~Communicator() { all_->end(comm_); }
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;
  ncclComm_t get() const { return comm_; }

 private:
  ncclComm_t comm_;
  std::shared_ptr<Communicators> all_;
};

class NcclOperation final : public Operation {
 public:
  explicit NcclOperation(device::Event done) : done_(std::move(done)) {}
  bool advance() override { return is_done = done_.is_done(); }
  void wait() override { device::compute().wait(done_); }

 private:
  device::Event done_;
};

ncclDataType_t nccl_type(DType dtype) {
  switch (dtype) {
    case DType::f32: return ncclFloat32;
    case DType::f64: return ncclFloat64;
    case DType::bf16: return ncclBfloat16;
    case DType::f16: return ncclFloat16;
    case DType::i32: return ncclInt32;
    case DType::i64: return ncclInt64;
    case DType::u8: return ncclUint8;
  }
  fail(ExitCode::internal, "NCCL has no type for {}", name_of(dtype));
}

ncclRedOp_t nccl_operation(Reduce how) { return how == Reduce::sum ? ncclSum : how == Reduce::max ? ncclMax : ncclMin; }

std::vector<int64_t> offsets_of(std::span<const int64_t> counts) {
  std::vector<int64_t> offsets(counts.size());
  std::exclusive_scan(counts.begin(), counts.end(), offsets.begin(), int64_t{0});
  return offsets;
}

bool are_equal(std::span<const int64_t> counts) {
  return std::adjacent_find(counts.begin(), counts.end(), std::not_equal_to<>()) == counts.end();
}

std::byte* at(void* base, int64_t bytes) { return static_cast<std::byte*>(base) + bytes; }
const std::byte* at(const void* base, int64_t bytes) { return static_cast<const std::byte*>(base) + bytes; }

class NcclChannel final : public Channel {
 public:
  NcclChannel(int rank, std::vector<int> ranks, std::shared_ptr<Communicator> comm, std::shared_ptr<Progress> progress,
              std::shared_ptr<CallCheck> check)
      : Channel(rank, std::move(ranks)),
        comm_(std::move(comm)),
        progress_(std::move(progress)),
        check_(std::move(check)) {
    warm_up();
  }

  Work all_reduce(void* data, int64_t count, DType dtype, Reduce how) override {
    const auto arguments = [&] { return fmt::format("{} {}, {}", count, name_of(dtype), static_cast<int>(how)); };
    return start("all_reduce", arguments, [&](cudaStream_t stream) {
      if (count == 0) return;
      check_nccl(
          ncclAllReduce(data, data, static_cast<size_t>(count), nccl_type(dtype), nccl_operation(how), comm(), stream),
          "ncclAllReduce", comm());
    });
  }

  Work all_gather(const void* send, void* recv, std::span<const int64_t> bytes) override {
    const std::vector<int64_t> own(bytes.size(), bytes[me()]), from(bytes.size(), 0);
    const auto arguments = [&] { return fmt::format("{} bytes", fmt::join(bytes, " ")); };
    return start("all_gather", arguments, [&](cudaStream_t stream) {
      if (!are_equal(bytes)) return exchange(send, own, from, recv, bytes, offsets_of(bytes), stream);
      if (bytes[0] == 0) return;
      check_nccl(ncclAllGather(send, recv, static_cast<size_t>(bytes[0]), ncclUint8, comm(), stream), "ncclAllGather",
                 comm());
    });
  }

  // With unequal parts: a reduction to each rank.
  Work reduce_scatter(const void* send, void* recv, std::span<const int64_t> counts, DType dtype, Reduce how) override {
    const auto arguments = [&] {
      return fmt::format("{} {}, {}", fmt::join(counts, " "), name_of(dtype), static_cast<int>(how));
    };
    return start("reduce_scatter", arguments, [&](cudaStream_t stream) {
      const auto count = [&](size_t r) { return static_cast<size_t>(counts[r]); };
      if (are_equal(counts)) {
        if (counts[0] == 0) return;
        check_nccl(ncclReduceScatter(send, recv, count(0), nccl_type(dtype), nccl_operation(how), comm(), stream),
                   "ncclReduceScatter", comm());
        return;
      }
      const std::vector<int64_t> offsets = offsets_of(counts);
      const Batch batch(comm());
      for (size_t r = 0; r < counts.size(); ++r)
        if (counts[r] > 0)
          check_nccl(ncclReduce(at(send, offsets[r] * size_of(dtype)), recv, count(r), nccl_type(dtype),
                                nccl_operation(how), static_cast<int>(r), comm(), stream),
                     "ncclReduce", comm());
    });
  }

  Work all_to_all(const void* send, std::span<const int64_t> send_bytes, void* recv,
                  std::span<const int64_t> recv_bytes) override {
    const auto arguments = [] { return std::string("as much as each has for each"); };
    return start("all_to_all", arguments, [&](cudaStream_t stream) {
      exchange(send, send_bytes, offsets_of(send_bytes), recv, recv_bytes, offsets_of(recv_bytes), stream);
    });
  }

  std::string last_started() const override {
    return fmt::format("{} (nccl), number {}", progress_->last_name.load(), progress_->num_started.load());
  }

 private:
  // Calls between its construction and its end are one to NCCL, so that sends and receives move together.
  class Batch {
   public:
    explicit Batch(ncclComm_t comm) : comm_(comm) { check_nccl(ncclGroupStart(), "ncclGroupStart", comm_); }
    ~Batch() noexcept(false) {
      const ncclResult_t status = ncclGroupEnd();
      if (std::uncaught_exceptions() == 0) check_nccl(status, "ncclGroupEnd", comm_);
    }

   private:
    ncclComm_t comm_;
  };

  // NCCL loads kernels and opens connections at first use, which must not happen while others wait in a kernel; nor may
  // the next communicator be made while this one's kernels run.
  void warm_up() {
    const auto peers = static_cast<size_t>(size());
    const std::shared_ptr<Allocator>& memory = device::memory();
    void* const bytes = memory->allocate(2 * size(), Purpose::buffers);
    check_cuda(cudaMemsetAsync(bytes, 0, 2 * peers, device::compute().get()), "clearing memory");
    const std::vector<int64_t> ones(peers, 1);
    all_reduce(bytes, size(), DType::u8, Reduce::sum).wait();
    all_to_all(bytes, ones, at(bytes, size()), ones).wait();
    memory->release(bytes, 2 * size(), Purpose::buffers);
    device::Event is_over;
    is_over.record(device::communication());
    device::wait_until(is_over);
  }

  size_t me() const { return static_cast<size_t>(rank()); }
  ncclComm_t comm() const { return comm_->get(); }

  template <class Arguments, class Body>
  Work start(const char* name, Arguments&& arguments, Body&& body) {
    if (check_) check_->compare(name, ranks(), arguments());
    progress_->last_name = name;
    ++progress_->num_started;
    device::Stream &compute = device::compute(), &communication = device::communication();
    device::Event ready, done;
    ready.record(compute);
    communication.wait(ready);
    {
      const StreamRange range(communication);
      body(communication.get());
    }
    done.record(communication);
    return Work(std::make_shared<NcclOperation>(std::move(done)));
  }

  // A pair with nothing to send makes no call; what stays here is copied.
  void exchange(const void* send, std::span<const int64_t> send_bytes, std::span<const int64_t> send_at, void* recv,
                std::span<const int64_t> recv_bytes, std::span<const int64_t> recv_at, cudaStream_t stream) {
    const void* from = at(send, send_at[me()]);
    void* to = at(recv, recv_at[me()]);
    if (send_bytes[me()] > 0 && from != to)
      check_cuda(cudaMemcpyAsync(to, from, static_cast<size_t>(send_bytes[me()]), cudaMemcpyDeviceToDevice, stream),
                 "copying the part that stays");
    const Batch batch(comm());
    for (size_t r = 0; r < send_bytes.size(); ++r) {
      if (r == me()) continue;
      const int peer = static_cast<int>(r);
      if (send_bytes[r] > 0)
        check_nccl(ncclSend(at(send, send_at[r]), static_cast<size_t>(send_bytes[r]), ncclUint8, peer, comm(), stream),
                   "ncclSend", comm());
      if (recv_bytes[r] > 0)
        check_nccl(ncclRecv(at(recv, recv_at[r]), static_cast<size_t>(recv_bytes[r]), ncclUint8, peer, comm(), stream),
                   "ncclRecv", comm());
    }
  }

  std::shared_ptr<Communicator> comm_;
  std::shared_ptr<Progress> progress_;
  std::shared_ptr<CallCheck> check_;  // in checked mode
};

// A group of one on a device.
class SelfOnDevice final : public Channel {
 public:
  explicit SelfOnDevice(int world_rank) : Channel(0, {world_rank}) {}
  Work all_reduce(void*, int64_t, DType, Reduce) override { return {}; }
  Work all_gather(const void* send, void* recv, std::span<const int64_t> bytes) override {
    return copy(send, recv, bytes[0]);
  }
  Work reduce_scatter(const void* send, void* recv, std::span<const int64_t> counts, DType dtype, Reduce) override {
    return copy(send, recv, counts[0] * size_of(dtype));
  }
  Work all_to_all(const void* send, std::span<const int64_t> send_bytes, void* recv,
                  std::span<const int64_t>) override {
    return copy(send, recv, send_bytes[0]);
  }

 private:
  static Work copy(const void* from, void* to, int64_t bytes) {
    if (from != to) switchyard::copy_bytes(to, Device::cuda, from, Device::cuda, bytes);
    return {};
  }
};

class NcclTransport final : public Transport {
 public:
  explicit NcclTransport(const Group& all)
      : world_(all),
        progress_(std::make_shared<Progress>()),
        communicators_(std::make_shared<Communicators>(all.rank())) {
    if (all.size() == 1) return;
    if (device::is_checked()) check_ = std::make_shared<CallCheck>(all);
    device::set_watch([all = communicators_, progress = progress_] { all->require_health(*progress); });
    setenv("NCCL_RUNTIME_CONNECT", "0", 0);  // connect to all peers when a communicator is made, not at first use
    ncclUniqueId id{};
    if (all.rank() == 0) check_nccl(ncclGetUniqueId(&id), "ncclGetUniqueId");
    all.broadcast(&id, sizeof id, 0).wait();
    ncclComm_t comm = nullptr;
    check_nccl(ncclCommInitRank(&comm, all.size(), id, all.rank()), "ncclCommInitRank");
    comm_ = std::make_shared<Communicator>(comm, communicators_);
  }
  ~NcclTransport() override { device::set_watch({}); }

  std::shared_ptr<Channel> all() override {
    if (!comm_) return std::make_shared<SelfOnDevice>(world_.ranks()[0]);
    return std::make_shared<NcclChannel>(world_.rank(), world_.ranks(), comm_, progress_, check_);
  }

  // The ranks of a group share a color: their first rank.
  std::shared_ptr<Channel> split(int rank, const std::vector<int>& ranks) override {
    if (!comm_) return all();
    const bool is_group = ranks.size() > 1;
    ncclComm_t comm = nullptr;
    check_nccl(ncclCommSplit(comm_->get(), is_group ? ranks[0] : NCCL_SPLIT_NOCOLOR, rank, &comm, nullptr),
               "ncclCommSplit", comm_->get());
    if (!is_group) return std::make_shared<SelfOnDevice>(world_.ranks()[static_cast<size_t>(world_.rank())]);
    return std::make_shared<NcclChannel>(rank, ranks, std::make_shared<Communicator>(comm, communicators_), progress_,
                                         check_);
  }

  std::vector<int> nodes() override { fail(ExitCode::internal, "nccl: nodes are the host transport's to tell"); }
  [[noreturn]] void abort(int) override { fail(ExitCode::internal, "nccl: the host transport aborts"); }

 private:
  Group world_;  // on the host
  std::shared_ptr<Progress> progress_;
  std::shared_ptr<Communicators> communicators_;
  std::shared_ptr<Communicator> comm_;  // of all ranks; null for one rank
  std::shared_ptr<CallCheck> check_;
};

}  // namespace

std::shared_ptr<Transport> make_nccl_transport(const Group& all) { return std::make_shared<NcclTransport>(all); }

}  // namespace switchyard::comm
