// One rank of a scenario of nccl_test.cpp: SCENARIO RANK RANKS ID, where ID is the path of a file through which rank 0
// hands the unique id to the others. Exit code 0 if everything that the rank sees is as it must be; what is wrong goes
// to stderr.
#include <cuda_bf16.h>
#include <cuda_runtime_api.h>
#include <nccl.h>

#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

namespace {

int rank = 0, ranks = 1;
std::string id_path;
ncclComm_t world = nullptr;
cudaStream_t stream = nullptr;

#define EXPECT(condition)                                                                 \
  do {                                                                                    \
    if (!(condition)) {                                                                   \
      std::fprintf(stderr, "rank %d, line %d: not so: %s\n", rank, __LINE__, #condition); \
      std::_Exit(1);                                                                      \
    }                                                                                     \
  } while (0)
#define DO(call) EXPECT((call) == 0)

template <class T>
struct OnDevice {
  explicit OnDevice(size_t count_) : count(count_) {
    DO(cudaMalloc(reinterpret_cast<void**>(&data), count * sizeof(T) + 1));
  }
  explicit OnDevice(const std::vector<T>& values) : OnDevice(values.size()) {
    DO(cudaMemcpyAsync(data, values.data(), count * sizeof(T), cudaMemcpyHostToDevice, stream));
    DO(cudaStreamSynchronize(stream));
  }
  ~OnDevice() { cudaFree(data); }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  std::vector<T> values() const {
    DO(cudaStreamSynchronize(stream));
    std::vector<T> host(count);
    DO(cudaMemcpy(host.data(), data, count * sizeof(T), cudaMemcpyDeviceToHost));
    return host;
  }
  T* data = nullptr;
  size_t count;
};

ncclResult_t join() {
  ncclUniqueId id;
  if (rank == 0) {
    DO(ncclGetUniqueId(&id));
    std::ofstream(id_path + ".part").write(id.internal, sizeof id.internal);
    std::filesystem::rename(id_path + ".part", id_path);
  }
  while (!std::filesystem::exists(id_path)) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  std::ifstream(id_path).read(id.internal, sizeof id.internal);
  const ncclResult_t result = ncclCommInitRank(&world, ranks, id, rank);
  EXPECT(rank != 0 || !std::filesystem::exists(std::string("/dev/shm/") + id.internal));
  return result;
}

// Returns when every rank is here: an abort of one must not reach another before that has seen its own error.
void meet() {
  static int meetings = 0;
  const auto place = [](int of_rank) {
    return id_path + "." + std::to_string(meetings) + "." + std::to_string(of_rank);
  };
  std::ofstream(place(rank)) << "here";
  for (int peer = 0; peer < ranks; ++peer)
    while (!std::filesystem::exists(place(peer))) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  ++meetings;
}

struct Mark {  // behind what a stream has been given
  explicit Mark(cudaStream_t s) {
    DO(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    DO(cudaEventRecord(event, s));
  }
  bool is_ahead() const { return cudaEventQuery(event) == cudaErrorNotReady; }
  cudaEvent_t event = nullptr;
};

// Waits as a program must: polls the stream and the communicator, aborts on an error, returns it.
ncclResult_t wait(ncclComm_t comm, bool all_fail = false) {
  ncclResult_t error = ncclSuccess;
  for (const Mark end(stream); end.is_ahead();) {
    DO(ncclCommGetAsyncError(comm, &error));
    if (error != ncclSuccess) {
      if (all_fail) meet();
      DO(ncclCommAbort(comm));
      EXPECT(cudaStreamSynchronize(stream) == cudaSuccess);
      return error;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return error;
}

template <class T>
T from(double value) {
  return static_cast<T>(value);
}
template <>
__nv_bfloat16 from(double value) {
  return __float2bfloat16_rn(static_cast<float>(value));
}
double number(double value) { return value; }
double number(__nv_bfloat16 value) { return __bfloat162float(value); }

// Element i of what a rank contributes: small integers, exact in every type, sums too.
double contribution(int of_rank, size_t i) {
  return static_cast<double>((i * 5 + static_cast<size_t>(of_rank) * 3) % 11);
}

double reduced(ncclRedOp_t op, size_t i) {
  double result = contribution(0, i);
  for (int r = 1; r < ranks; ++r) {
    const double next = contribution(r, i);
    result = op == ncclSum ? result + next : op == ncclMax ? std::max(result, next) : std::min(result, next);
  }
  return result;
}

template <class T>
std::vector<T> contributions(int of_rank, size_t count) {
  std::vector<T> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = from<T>(contribution(of_rank, i));
  return values;
}

template <class T>
void check_collectives(ncclDataType_t type, size_t count) {
  const auto me = static_cast<size_t>(rank), all = static_cast<size_t>(ranks);
  for (const ncclRedOp_t op : {ncclSum, ncclMax, ncclMin}) {
    OnDevice<T> in(contributions<T>(rank, count)), out(count), parts(contributions<T>(rank, count * all)), part(count);
    DO(ncclAllReduce(in.data, out.data, count, type, op, world, stream));
    DO(ncclReduceScatter(parts.data, part.data, count, type, op, world, stream));
    DO(ncclAllReduce(in.data, in.data, count, type, op, world, stream));  // in place
    DO(ncclReduceScatter(parts.data, parts.data + me * count, count, type, op, world, stream));
    const auto a = out.values(), b = in.values(), c = part.values(), d = parts.values();
    for (size_t i = 0; i < count; ++i) {
      EXPECT(number(a[i]) == reduced(op, i));
      EXPECT(number(b[i]) == reduced(op, i));
      EXPECT(number(c[i]) == reduced(op, me * count + i));
      EXPECT(number(d[me * count + i]) == number(c[i]));
    }
  }
  OnDevice<T> in(contributions<T>(rank, count)), out(count * all);
  std::vector<T> own(count * all);
  std::copy_n(contributions<T>(rank, count).begin(), count, own.begin() + static_cast<ptrdiff_t>(me * count));
  OnDevice<T> place(own);
  DO(ncclAllGather(in.data, out.data, count, type, world, stream));
  DO(ncclAllGather(place.data + me * count, place.data, count, type, world, stream));
  const auto a = out.values(), b = place.values();
  for (size_t i = 0; i < count; ++i) {
    for (size_t r = 0; r < all; ++r) {
      EXPECT(number(a[r * count + i]) == contribution(static_cast<int>(r), i));
      EXPECT(number(b[r * count + i]) == contribution(static_cast<int>(r), i));
    }
  }
}

// Unequal parts of a reduction, as a group of reductions to each rank; in place at the root.
void reductions() {
  OnDevice<int32_t> parts(contributions<int32_t>(rank, 100)), part(std::vector<int32_t>(100));
  DO(ncclGroupStart());
  for (int root = 0; root < ranks; ++root)
    DO(ncclReduce(parts.data + 10 * root, part.data, size_t(root) + 3, ncclInt32, ncclSum, root, world, stream));
  DO(ncclGroupEnd());
  const auto values = part.values();
  for (size_t i = 0; i < size_t(rank) + 3; ++i) EXPECT(values[i] == reduced(ncclSum, size_t(10 * rank) + i));
  DO(ncclReduce(parts.data, parts.data, 7, ncclInt32, ncclMax, 0, world, stream));
  const auto most = parts.values();
  for (size_t i = 0; i < 7; ++i) EXPECT(most[i] == (rank == 0 ? reduced(ncclMax, i) : contribution(rank, i)));
}

void collectives() {
  reductions();
  for (const size_t count : {0, 1, 37}) {
    check_collectives<uint8_t>(ncclUint8, count);
    check_collectives<int32_t>(ncclInt32, count);
    check_collectives<int64_t>(ncclInt64, count);
    check_collectives<__nv_bfloat16>(ncclBfloat16, count);
    check_collectives<float>(ncclFloat32, count);
    check_collectives<double>(ncclFloat64, count);
  }
  check_collectives<float>(ncclFloat32, 50000);  // more than a ring holds
}

// bf16 sums in f32, rounded once: 256 + 1 + 1 is 258, in bf16 steps it would stay 256.
void rounding() {
  OnDevice<__nv_bfloat16> value(std::vector<__nv_bfloat16>{from<__nv_bfloat16>(rank == 0 ? 256 : 1)});
  DO(ncclAllReduce(value.data, value.data, 1, ncclBfloat16, ncclSum, world, stream));
  EXPECT(number(value.values()[0]) == 258);
}

// Every rank sends (from + 2 to) % 5 * `scale` numbers, to itself too; with nothing to send it makes no call.
void exchange(size_t scale) {
  const auto amount = [&](int sender, int receiver) {
    return static_cast<size_t>((sender + 2 * receiver) % 5) * scale;
  };
  std::vector<float> out, in;
  std::vector<size_t> out_at, in_at;
  for (int peer = 0; peer < ranks; ++peer) {
    out_at.push_back(out.size());
    in_at.push_back(in.size());
    for (size_t i = 0; i < amount(rank, peer); ++i)
      out.push_back(static_cast<float>(1000 * rank + 100 * peer) + float(i % 89));
    for (size_t i = 0; i < amount(peer, rank); ++i)
      in.push_back(static_cast<float>(1000 * peer + 100 * rank) + float(i % 89));
  }
  OnDevice<float> sent(out), received(in.size());
  DO(ncclGroupStart());
  for (int peer = 0; peer < ranks; ++peer) {
    if (amount(rank, peer) > 0)
      DO(ncclSend(sent.data + out_at[size_t(peer)], amount(rank, peer), ncclFloat32, peer, world, stream));
    if (amount(peer, rank) > 0)
      DO(ncclRecv(received.data + in_at[size_t(peer)], amount(peer, rank), ncclFloat32, peer, world, stream));
  }
  DO(ncclGroupEnd());
  EXPECT(received.values() == in);
}

// Two messages to one peer in one group arrive in order; a count of 0 is a message too; collectives in a group.
void groups() {
  const int next = (rank + 1) % ranks, previous = (rank + ranks - 1) % ranks;
  OnDevice<int32_t> out(std::vector<int32_t>{rank, rank + 10, rank + 20}), in(std::vector<int32_t>(3, -1));
  OnDevice<int32_t> sum(std::vector<int32_t>{rank}), most(std::vector<int32_t>{rank});
  DO(ncclGroupStart());
  DO(ncclGroupStart());
  DO(ncclSend(out.data, 1, ncclInt32, next, world, stream));
  DO(ncclSend(out.data, 0, ncclInt32, next, world, stream));
  DO(ncclSend(out.data + 1, 2, ncclInt32, next, world, stream));
  DO(ncclGroupEnd());
  DO(ncclAllReduce(sum.data, sum.data, 1, ncclInt32, ncclSum, world, stream));
  DO(ncclRecv(in.data, 1, ncclInt32, previous, world, stream));
  DO(ncclRecv(in.data, 0, ncclInt32, previous, world, stream));
  DO(ncclRecv(in.data + 1, 2, ncclInt32, previous, world, stream));
  DO(ncclAllReduce(most.data, most.data, 1, ncclInt32, ncclMax, world, stream));
  DO(ncclGroupEnd());
  EXPECT((in.values() == std::vector<int32_t>{previous, previous + 10, previous + 20}));
  EXPECT(sum.values()[0] == ranks * (ranks - 1) / 2 && most.values()[0] == ranks - 1);
}

// Halves in reversed order, halves of a half, and a rank in none.
void split() {
  ncclComm_t half = nullptr, quarter = nullptr, others = nullptr;
  DO(ncclCommSplit(world, rank % 2, -rank, &half, nullptr));
  const int count = ranks / 2, place = (ranks - 1 - rank) / 2;
  OnDevice<int32_t> gathered(static_cast<size_t>(count)), mine(std::vector<int32_t>{rank});
  DO(ncclAllGather(mine.data, gathered.data, 1, ncclInt32, half, stream));
  const auto values = gathered.values();
  for (int i = 0; i < count; ++i) EXPECT(values[size_t(i)] == ranks - 2 + rank % 2 - 2 * i);
  DO(ncclCommSplit(half, place, 0, &quarter, nullptr));
  DO(ncclCommSplit(world, rank == 0 ? NCCL_SPLIT_NOCOLOR : 7, 0, &others, nullptr));
  EXPECT((others == nullptr) == (rank == 0));
  DO(ncclAllReduce(mine.data, mine.data, 1, ncclInt32, ncclSum, quarter, stream));
  if (others != nullptr) DO(ncclAllReduce(mine.data, mine.data, 1, ncclInt32, ncclSum, others, stream));
  EXPECT(mine.values()[0] == (rank == 0 ? 0 : ranks * (ranks - 1) / 2));
  for (const ncclComm_t comm : {half, quarter, others}) DO(ncclCommDestroy(comm));
}

// The rest ends in an error that every rank must see and survive.
void expect_error(ncclResult_t expected, bool all_fail, const std::function<void(int32_t* data)>& calls) {
  OnDevice<int32_t> data(std::vector<int32_t>(8, 1));
  calls(data.data);
  EXPECT(wait(world, all_fail) == expected);
  world = nullptr;
  EXPECT(std::strlen(ncclGetLastError(nullptr)) > 0);
}

void mismatched_call() {
  expect_error(ncclInvalidUsage, true, [](int32_t* data) {
    if (rank == 1)
      DO(ncclAllGather(data + 2, data, 2, ncclInt32, world, stream));
    else
      DO(ncclAllReduce(data, data, 4, ncclInt32, ncclSum, world, stream));
  });
}
void mismatched_pair() {  // the sender has no word from the receiver but its accusation
  expect_error(ncclInvalidUsage, true, [](int32_t* data) {
    if (rank == 0) DO(ncclSend(data, 4, ncclInt32, 1, world, stream));
    if (rank == 0) DO(ncclRecv(data, 4, ncclInt32, 1, world, stream));
    if (rank == 1) DO(ncclRecv(data, 5, ncclInt32, 0, world, stream));
  });
}
void deadlock() {
  expect_error(ncclInvalidUsage, true, [](int32_t* data) {
    DO(ncclRecv(data, 4, ncclInt32, 1 - rank, world, stream));
    DO(ncclSend(data, 4, ncclInt32, 1 - rank, world, stream));
  });
}
void other_order() {  // of two communicators on two streams: works by luck on a GPU, and not here
  ncclComm_t other = nullptr;
  DO(ncclCommSplit(world, 0, 0, &other, nullptr));
  cudaStream_t second = nullptr;
  DO(cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking));
  OnDevice<int32_t> a(std::vector<int32_t>(4, 1)), b(std::vector<int32_t>(4, 1));
  for (const bool first : {rank == 0, rank != 0}) {
    if (first)
      DO(ncclAllReduce(a.data, a.data, 4, ncclInt32, ncclSum, world, stream));
    else
      DO(ncclAllReduce(b.data, b.data, 4, ncclInt32, ncclSum, other, second));
    std::this_thread::sleep_for(std::chrono::milliseconds(200));  // it begins
    meet();
  }
  const Mark end(stream), second_end(second);
  ncclResult_t of_world = ncclSuccess, of_other = ncclSuccess;
  while (of_world == ncclSuccess && of_other == ncclSuccess) {
    DO(ncclCommGetAsyncError(world, &of_world));
    DO(ncclCommGetAsyncError(other, &of_other));
    EXPECT(end.is_ahead() && second_end.is_ahead());
  }
  meet();
  DO(ncclCommAbort(world));
  DO(ncclCommAbort(other));
  DO(cudaStreamSynchronize(stream));
  DO(cudaStreamSynchronize(second));
  world = nullptr;
}
void dead_peer() {
  if (rank == 1) kill(getpid(), SIGKILL);
  expect_error(ncclRemoteError, false,
               [](int32_t* data) { DO(ncclAllReduce(data, data, 4, ncclInt32, ncclSum, world, stream)); });
}
void aborting_peer() {
  if (rank == 1) {
    DO(ncclCommAbort(world));
    world = nullptr;
    return;
  }
  expect_error(ncclRemoteError, false,
               [](int32_t* data) { DO(ncclAllReduce(data, data, 4, ncclInt32, ncclSum, world, stream)); });
}
void stopped_peer() {  // rank 1, by SIMGPU_NCCL_STOPS_1: it calls, and nothing comes
  OnDevice<int32_t> data(std::vector<int32_t>(4, 1));
  DO(ncclAllReduce(data.data, data.data, 4, ncclInt32, ncclSum, world, stream));
  if (rank == 0) EXPECT(wait(world) == ncclInvalidUsage);
  meet();
  if (rank == 1) {
    DO(ncclCommAbort(world));
    DO(cudaStreamSynchronize(stream));
  }
  world = nullptr;
}
void unwatched() {  // a program that only synchronises gets an error in the end, not a hang
  OnDevice<int32_t> data(std::vector<int32_t>(4, 1));
  DO(ncclRecv(data.data, 4, ncclInt32, 1 - rank, world, stream));
  EXPECT(cudaStreamSynchronize(stream) == cudaErrorLaunchFailure);
  std::_Exit(0);
}

const std::map<std::string, std::function<void()>> scenarios = {{"collectives", collectives},
                                                                {"rounding", rounding},
                                                                {"exchange", [] { exchange(1), exchange(30000); }},
                                                                {"groups", groups},
                                                                {"split", split},
                                                                {"mismatched_call", mismatched_call},
                                                                {"mismatched_pair", mismatched_pair},
                                                                {"deadlock", deadlock},
                                                                {"other_order", other_order},
                                                                {"dead_peer", dead_peer},
                                                                {"aborting_peer", aborting_peer},
                                                                {"stopped_peer", stopped_peer},
                                                                {"unwatched", unwatched}};

}  // namespace

int main(int, char** argv) {
  const std::string scenario = argv[1];
  id_path = argv[4];
  rank = std::atoi(argv[2]);
  ranks = std::atoi(argv[3]);
  const bool shares = scenario == "same_device";
  DO(cudaSetDevice(shares ? 0 : rank));
  DO(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  EXPECT(join() == (shares ? ncclInvalidUsage : ncclSuccess));
  if (shares) return 0;
  scenarios.at(scenario)();
  if (world != nullptr) {
    DO(cudaStreamSynchronize(stream));
    DO(ncclCommDestroy(world));
  }
  return 0;
}
