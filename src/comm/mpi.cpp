// The mpi transport: host memory, one process per rank. A group has a communicator of its own; a message is one
// MPI_Isend and one MPI_Irecv (more above 1 GiB, since counts are int). MPI moves while a rank waits or asks.
#include "comm/host_channel.h"
#include "comm/mpi_calls.h"
#include "switchyard/comm/world.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <exception>
#include <thread>

#include <dlfcn.h>

namespace switchyard::comm {
namespace {

constexpr int64_t kMaxMessage = int64_t{1} << 30;  // bytes

// Loaded once and for good. Open MPI's own parts look for its names among those of the whole program.
const MpiCalls& mpi() {
  static const MpiCalls* const calls = [] {
    void* const library = dlopen(kMpiLibrary, RTLD_NOW | RTLD_GLOBAL);
    const void* const table = library ? dlsym(library, kMpiTable) : nullptr;
    if (!table)
      fail(ExitCode::internal,
           "a launcher has started this rank, and MPI cannot be loaded: {}; install Open MPI, and keep {} beside the "
           "program or in ../lib/switchyard",
           dlerror(), kMpiLibrary);
    return static_cast<const MpiCalls*>(table);
  }();
  return *calls;
}

void check_mpi(int status, std::string_view call) {
  if (status == MPI_SUCCESS) return;
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  mpi().error_string(status, text.data(), &length);
  fail(ExitCode::internal, "{} failed: {}", call, std::string_view(text.data(), static_cast<size_t>(length)));
}

// Started by the first and ended after the last object that uses it.
class Library {
 public:
  Library(int* argc, char*** argv) {
    int provided = 0;
    check_mpi(mpi().init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
    check(provided >= MPI_THREAD_FUNNELED, "MPI refuses programs with threads (level {})", provided);
    check_mpi(mpi().comm_set_errhandler(mpi().comm_world, mpi().errors_return), "MPI_Comm_set_errhandler");
  }
  // Finalising waits for all ranks; after an error that would hang, and a launcher ends the job anyway.
  ~Library() {
    if (std::uncaught_exceptions() == 0) mpi().finalize();
  }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
};

class Communicator {
 public:
  Communicator(std::shared_ptr<Library> library, MPI_Comm comm) : library_(std::move(library)), comm_(comm) {
    check_mpi(mpi().comm_set_errhandler(comm_, mpi().errors_return), "MPI_Comm_set_errhandler");
  }
  ~Communicator() {
    if (std::uncaught_exceptions() == 0) mpi().comm_free(&comm_);
  }
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;
  MPI_Comm get() const { return comm_; }

 private:
  std::shared_ptr<Library> library_;
  MPI_Comm comm_;
};

class MpiEngine final : public Engine {
 protected:
  void idle(uint64_t) override {
    if (++idle_polls_ % kPollsPerYield == 0) std::this_thread::yield();  // ranks may share a core
  }

 private:
  static constexpr int kPollsPerYield = 64;
  unsigned idle_polls_ = 0;
};

class MpiTransfer final : public Transfer {
 public:
  // `peer`: its rank in the world; expected_bytes < 0: a send.
  void add(MPI_Request request, int peer, int64_t expected_bytes) {
    requests_.push_back(request);
    peers_.push_back(peer);
    expected_.push_back(expected_bytes);
  }
  int missing_peer() override {
    for (size_t i = 0; i < requests_.size(); ++i) {
      int is_here = 0;
      check_mpi(mpi().request_get_status(requests_[i], &is_here, MPI_STATUS_IGNORE), "MPI_Request_get_status");
      if (!is_here) return peers_[i];
    }
    return -1;
  }
  bool done() override {
    int all_done = 0;
    statuses_.resize(requests_.size());
    const int count = static_cast<int>(requests_.size());
    int status = mpi().testall(count, requests_.data(), &all_done, statuses_.data());
    for (size_t i = 0; status == MPI_ERR_IN_STATUS && i < statuses_.size(); ++i)
      if (statuses_[i].MPI_ERROR != MPI_SUCCESS && statuses_[i].MPI_ERROR != MPI_ERR_PENDING)
        status = statuses_[i].MPI_ERROR;
    check_mpi(status, "a message");
    if (!all_done) return false;
    for (size_t i = 0; i < requests_.size(); ++i) {
      if (expected_[i] < 0) continue;
      int bytes = 0;
      check_mpi(mpi().get_count(&statuses_[i], mpi().byte, &bytes), "MPI_Get_count");
      check(bytes == expected_[i], "a message of {} bytes where {} were expected", bytes, expected_[i]);
    }
    return true;
  }

 private:
  std::vector<MPI_Request> requests_;
  std::vector<int> peers_;
  std::vector<int64_t> expected_;
  std::vector<MPI_Status> statuses_;
};

class MpiChannel final : public HostChannel {
 public:
  MpiChannel(int rank, std::vector<int> ranks, std::shared_ptr<Engine> engine, std::shared_ptr<Communicator> comm)
      : HostChannel(rank, std::move(ranks), std::move(engine)), comm_(std::move(comm)) {
    int* upper_bound = nullptr;
    int is_known = 0;
    check_mpi(mpi().comm_get_attr(comm_->get(), MPI_TAG_UB, &upper_bound, &is_known), "MPI_Comm_get_attr");
    num_tags_ = is_known ? (int64_t{*upper_bound} + 1) / 2 * 2 : 32768;
  }

  std::unique_ptr<Transfer> exchange(std::span<const Outgoing> sends, std::span<const Incoming> receives,
                                     int64_t tag) override {
    auto transfer = std::make_unique<MpiTransfer>();
    const int t = static_cast<int>(tag % num_tags_);
    for (const Incoming& m : receives)
      in_parts(m.bytes, [&](int64_t begin, int bytes) {
        MPI_Request request;
        check_mpi(
            mpi().irecv(static_cast<std::byte*>(m.data) + begin, bytes, mpi().byte, m.peer, t, comm_->get(), &request),
            "MPI_Irecv");
        transfer->add(request, world_rank(m.peer), bytes);
      });
    for (const Outgoing& m : sends)
      in_parts(m.bytes, [&](int64_t begin, int bytes) {
        MPI_Request request;
        check_mpi(mpi().isend(static_cast<const std::byte*>(m.data) + begin, bytes, mpi().byte, m.peer, t, comm_->get(),
                              &request),
                  "MPI_Isend");
        transfer->add(request, world_rank(m.peer), -1);
      });
    return transfer;
  }

 private:
  int world_rank(int peer) const { return ranks()[static_cast<size_t>(peer)]; }
  template <class Body>
  static void in_parts(int64_t bytes, Body&& body) {
    int64_t begin = 0;
    do {
      const int64_t part = std::min(kMaxMessage, bytes - begin);
      body(begin, static_cast<int>(part));
      begin += part;
    } while (begin < bytes);
  }

  std::shared_ptr<Communicator> comm_;
  int64_t num_tags_ = 0;
};

class MpiTransport final : public Transport {
 public:
  MpiTransport(int* argc, char*** argv)
      : library_(std::make_shared<Library>(argc, argv)), engine_(std::make_shared<MpiEngine>()) {
    check_mpi(mpi().comm_rank(mpi().comm_world, &rank_), "MPI_Comm_rank");
    check_mpi(mpi().comm_size(mpi().comm_world, &size_), "MPI_Comm_size");
  }

  std::shared_ptr<Channel> all() override {
    if (size_ == 1) return make_self_channel(0);
    std::vector<int> ranks;
    for (int r = 0; r < size_; ++r) ranks.push_back(r);
    return split(rank_, ranks);
  }

  std::shared_ptr<Channel> split(int rank, const std::vector<int>& ranks) override {
    MPI_Group world, group;
    MPI_Comm comm = mpi().comm_null;
    check_mpi(mpi().comm_group(mpi().comm_world, &world), "MPI_Comm_group");
    check_mpi(mpi().group_incl(world, static_cast<int>(ranks.size()), ranks.data(), &group), "MPI_Group_incl");
    check_mpi(mpi().comm_create_group(mpi().comm_world, group, 0, &comm), "MPI_Comm_create_group");
    check_mpi(mpi().group_free(&group), "MPI_Group_free");
    check_mpi(mpi().group_free(&world), "MPI_Group_free");
    return std::make_shared<MpiChannel>(rank, ranks, engine_, std::make_shared<Communicator>(library_, comm));
  }

  // Ranks that can share memory are one node; it is numbered by the order of first ranks.
  std::vector<int> nodes() override {
    MPI_Comm node = mpi().comm_null;
    check_mpi(mpi().comm_split_type(mpi().comm_world, MPI_COMM_TYPE_SHARED, rank_, mpi().info_null, &node),
              "MPI_Comm_split_type");
    int first = rank_;  // key = rank, so rank 0 of a node is its first in the world
    check_mpi(mpi().bcast(&first, 1, mpi().integer, 0, node), "MPI_Bcast");
    check_mpi(mpi().comm_free(&node), "MPI_Comm_free");
    std::vector<int> firsts(static_cast<size_t>(size_));
    check_mpi(mpi().allgather(&first, 1, mpi().integer, firsts.data(), 1, mpi().integer, mpi().comm_world),
              "MPI_Allgather");
    std::vector<int> sorted = firsts;
    std::sort(sorted.begin(), sorted.end());
    sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
    for (int& n : firsts) n = static_cast<int>(std::lower_bound(sorted.begin(), sorted.end(), n) - sorted.begin());
    return firsts;
  }

  [[noreturn]] void abort(int code) override {
    mpi().abort(mpi().comm_world, code);
    std::_Exit(code);
  }

 private:
  std::shared_ptr<Library> library_;
  std::shared_ptr<Engine> engine_;
  int rank_ = 0, size_ = 1;
};

// Open MPI's mpirun, PMIx (srun --mpi=pmix) and PMI launchers all leave one of these.
bool is_launched() {
  const auto is_set = [](const char* name) { return std::getenv(name) != nullptr; };
  return is_set("OMPI_COMM_WORLD_SIZE") || is_set("PMIX_RANK") || (is_set("PMI_RANK") && is_set("PMI_SIZE"));
}

// Ranks of srun that no library of MPI knows of would each train on their own.
void require_known_launcher() {
  const char* rank = std::getenv("SLURM_PROCID");
  const bool is_later_rank = rank != nullptr && std::string_view(rank) != "0";
  require(!is_later_rank, ExitCode::usage,
          "task {} of srun, which has told MPI nothing: start ranks with mpirun, or with srun --mpi=pmix", rank);
}

}  // namespace

World World::mpi(int* argc, char*** argv) {
  if (is_launched()) return World(std::make_shared<MpiTransport>(argc, argv));
  require_known_launcher();
  return self();
}

}  // namespace switchyard::comm
