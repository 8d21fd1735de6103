// Joining, splitting, and noticing who is gone.
#include "tests/simgpu/nccl.h"

#include "tests/simgpu/library.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <mutex>
#include <thread>
#include <utility>

namespace switchyard::simgpu::nccl {
namespace {

constexpr const char* kFolder = "/dev/shm/";
std::mutex last_error_mutex;
char last_error_text[1024];

flock lock_of(int rank) {
  flock lock{};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = rank;
  lock.l_len = 1;
  return lock;
}

}  // namespace

size_t Ring::put(const uint8_t* from, size_t bytes) {
  const uint64_t at = written_.load(std::memory_order_relaxed);
  bytes = std::min<size_t>(bytes, kBytes - (at - taken_.load(std::memory_order_acquire)));
  const size_t first = std::min(bytes, kBytes - at % kBytes);
  std::copy_n(from, first, bytes_ + at % kBytes);
  std::copy_n(from + first, bytes - first, bytes_);
  written_.store(at + bytes, std::memory_order_release);
  return bytes;
}

size_t Ring::take(uint8_t* to, size_t bytes) {
  const uint64_t at = taken_.load(std::memory_order_relaxed);
  bytes = std::min<size_t>(bytes, written_.load(std::memory_order_acquire) - at);
  const size_t first = std::min(bytes, kBytes - at % kBytes);
  std::copy_n(bytes_ + at % kBytes, first, to);
  std::copy_n(bytes_, bytes - first, to + first);
  taken_.store(at + bytes, std::memory_order_release);
  return bytes;
}

ncclResult_t Communicator::open() {
  cudaDeviceProp card;
  if (cudaGetDevice(&device) != cudaSuccess || cudaGetDeviceProperties(&card, device) != cudaSuccess)
    return ncclUnhandledCudaError;
  device = card.pciBusID;  // a process may be shown a part of the machine's
  const auto size = static_cast<size_t>(ranks);
  bytes_ = size * sizeof(Seat) + size * size * sizeof(Ring);
  file_ = ::open((kFolder + name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file_ < 0 || ftruncate(file_, static_cast<off_t>(bytes_)) != 0) return ncclSystemError;
  void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, file_, 0);
  if (memory == MAP_FAILED) return ncclSystemError;
  seats_ = static_cast<Seat*>(memory);  // a new file is zero: everybody absent, rings empty
  flock mine = lock_of(rank);
  if (fcntl(file_, F_SETLK, &mine) != 0 || seat(rank).presence != Presence::nobody) {
    set_last_error(fmt::format("rank {} of {} is taken", rank, name));
    return ncclInvalidUsage;
  }
  seat(rank).ranks = ranks;
  seat(rank).device = device;
  std::snprintf(seat(rank).doing, sizeof(Seat::doing), "has called nothing yet");
  seat(rank).presence = Presence::present;
  return ncclSuccess;
}

std::shared_ptr<Communicator> Communicator::join(const std::string& name, int ranks, int rank, int world_rank,
                                                 ncclResult_t* result) {
  std::shared_ptr<Communicator> comm(new Communicator(name, ranks, rank, world_rank));
  *result = comm->open();
  if (*result == ncclSuccess)
    *result = comm->await("ncclCommInitRank", [](Seat& seat) { return seat.presence != Presence::nobody; });
  if (rank == 0) unlink((kFolder + name).c_str());
  for (int i = 0; *result == ncclSuccess && i < ranks; ++i) {
    const Seat& seat = comm->seat(i);
    if (seat.ranks != ranks) {
      comm->fail(*result = ncclInvalidUsage, fmt::format("rank {} says {} ranks, this one {}", i, seat.ranks, ranks));
    } else if (i != rank && seat.device == comm->device) {
      comm->fail(*result = ncclInvalidUsage,
                 fmt::format("Duplicate GPU detected : rank {} and rank {} both on CUDA device {}", rank, i,
                             comm->device));
    }
  }
  if (*result != ncclSuccess) comm.reset();
  return comm;
}

Communicator::~Communicator() {
  if (seats_ != nullptr) {
    auto present = Presence::present;
    seat(rank).presence.compare_exchange_strong(present, aborted ? Presence::aborted : Presence::left);
    munmap(static_cast<void*>(seats_), bytes_);
  }
  if (file_ >= 0) close(file_);
}

Ring& Communicator::ring(int from, int to) {
  auto* rings = reinterpret_cast<Ring*>(seats_ + ranks);
  return rings[from * ranks + to];
}

bool Communicator::has_died(int peer) const {
  flock theirs = lock_of(peer);
  return peer != rank && fcntl(file_, F_GETLK, &theirs) == 0 && theirs.l_type == F_UNLCK;
}

std::string Communicator::fate(int peer) {
  switch (seat(peer).presence) {
    case Presence::nobody: return "";
    case Presence::left: return "has destroyed its communicator";
    case Presence::aborted: return "has aborted its communicator";
    default: return has_died(peer) ? "has died" : "";
  }
}

void Communicator::accuse(int peer, const std::string& text) {
  uint32_t none = 0;
  if (!seat(peer).accused.compare_exchange_strong(none, 1)) return;
  std::snprintf(seat(peer).accusation, sizeof(Seat::accusation), "%s", text.c_str());
  seat(peer).accused = 2;
}

void Communicator::fail(ncclResult_t result, const std::string& text) {
  ncclResult_t none = ncclSuccess;
  if (!error.compare_exchange_strong(none, result)) return;
  set_last_error(text);
  std::fprintf(stderr, "simgpu: NCCL communicator %s, rank %d of %d: %s\n", name.c_str(), rank, ranks, text.c_str());
}

void Communicator::abort() {
  aborted = true;
  seat(rank).presence = Presence::aborted;
}

// Until `ready` holds for every rank's seat.
ncclResult_t Communicator::await(const char* what, const std::function<bool(Seat&)>& ready) {
  const auto start = std::chrono::steady_clock::now();
  for (int peer = 0; peer < ranks; ++peer) {
    while (!ready(seat(peer))) {
      const std::string end = fate(peer);
      if (!end.empty()) return fail(ncclRemoteError, fmt::format("{}: rank {} {}", what, peer, end)), error.load();
      if (std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() > timeout_seconds())
        return fail(ncclSystemError, fmt::format("{} waited in vain for rank {}", what, peer)), error.load();
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  }
  return ncclSuccess;
}

std::shared_ptr<Communicator> Communicator::split(int color, int key, ncclResult_t* result) {
  Seat& mine = seat(rank);
  const uint32_t call = mine.splits_written + 1;
  *result = await("ncclCommSplit", [call](Seat& seat) { return seat.splits_read + 1 >= call; });
  if (*result != ncclSuccess) return nullptr;
  mine.color = color;
  mine.key = key;
  mine.splits_written = call;
  *result = await("ncclCommSplit", [call](Seat& seat) { return seat.splits_written >= call; });
  if (*result != ncclSuccess) return nullptr;
  std::vector<std::pair<int, int>> members;  // key, then rank
  for (int peer = 0; peer < ranks; ++peer)
    if (seat(peer).color == color) members.emplace_back(seat(peer).key, peer);
  mine.splits_read = call;
  if (color == NCCL_SPLIT_NOCOLOR) return nullptr;
  std::sort(members.begin(), members.end());
  const auto place = std::find(members.begin(), members.end(), std::pair{key, rank});
  return join(fmt::format("{}.{}.{}", name, call, color), static_cast<int>(members.size()),
              static_cast<int>(place - members.begin()), world_rank, result);
}

double timeout_seconds() { return static_cast<double>(setting("NCCL_TIMEOUT", 20)); }

void set_last_error(const std::string& text) {
  const std::lock_guard hold(last_error_mutex);
  std::snprintf(last_error_text, sizeof last_error_text, "%s", text.c_str());
}

const char* last_error() { return last_error_text; }

}  // namespace switchyard::simgpu::nccl
