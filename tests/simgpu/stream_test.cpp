// Streams and events of the stand-in for the CUDA runtime: what is ordered, what is not, and what the host waits for.
#include <unistd.h>

#include <set>

#include "tests/simgpu/check_kernels.h"
#include "tests/simgpu/support.h"

namespace simgpu_test {
namespace {

class Streams : public Test {};

class Order : public Test, public testing::WithParamInterface<int> {};
TEST_P(Order, MissingEventWaitIsReportedUnderEverySeed) {
  set("SEED", std::to_string(GetParam()));
  Stream a, b;
  Event done;
  Buffer<float> x(std::vector<float>(1000, 1));
  for (const bool waits : {true, false}) {
    add_one(x.data(), 1000, a.s);
    ASSERT_EQ(cudaEventRecord(done.e, a.s), cudaSuccess);
    if (waits) {
      ASSERT_EQ(cudaStreamWaitEvent(b.s, done.e, 0), cudaSuccess);
    }
    add_one(x.data(), 1000, b.s);
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    if (waits) {
      EXPECT_EQ(all_findings(), "");
    } else {
      expect_finding("unordered stream operations", "add_one_kernel");
    }
  }
}
TEST_P(Order, FreeOfMemoryInUseIsReportedUnderEverySeed) {
  set("SEED", std::to_string(GetParam()));
  Stream s;
  for (const bool waits : {true, false}) {
    float* p = nullptr;
    ASSERT_EQ(cudaMalloc(&p, 4000), cudaSuccess);
    ASSERT_EQ(cudaMemsetAsync(p, 0, 4000, s.s), cudaSuccess);
    add_one(p, 1000, s.s);
    if (waits) {
      ASSERT_EQ(cudaStreamSynchronize(s.s), cudaSuccess);
    }
    ASSERT_EQ(cudaFree(p), cudaSuccess);
    if (waits) {
      EXPECT_EQ(all_findings(), "");
    } else {
      expect_finding("unordered stream operations", "'cudaFree' (stream 0) writes");
    }
  }
}
TEST_P(Order, WriteAfterReadsOfTwoStreamsNeedsBoth) {
  set("SEED", std::to_string(GetParam()));
  Stream a, b, c;
  Event from_a, from_b;
  Buffer<float> x(std::vector<float>(100, 1)), y(100), z(100);
  for (const bool waits : {true, false}) {
    ASSERT_EQ(cudaMemcpyAsync(y.data(), x.data(), 400, cudaMemcpyDeviceToDevice, a.s), cudaSuccess);
    ASSERT_EQ(cudaMemcpyAsync(z.data(), x.data(), 400, cudaMemcpyDeviceToDevice, b.s), cudaSuccess);
    ASSERT_EQ(cudaEventRecord(from_a.e, a.s), cudaSuccess);
    ASSERT_EQ(cudaEventRecord(from_b.e, b.s), cudaSuccess);
    if (waits) {
      ASSERT_EQ(cudaStreamWaitEvent(c.s, from_a.e, 0), cudaSuccess);
    }
    ASSERT_EQ(cudaStreamWaitEvent(c.s, from_b.e, 0), cudaSuccess);
    ASSERT_EQ(cudaMemsetAsync(x.data(), 0, 400, c.s), cudaSuccess);
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    if (waits) {
      EXPECT_EQ(all_findings(), "");
    } else {
      expect_finding("unordered stream operations", "'memset'");
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Seeds, Order, testing::Range(1, 7));

TEST_F(Streams, SeedsOrderStreams) {
  std::set<std::vector<int>> orders;
  for (int seed = 1; seed < 30; ++seed) {
    set("SEED", std::to_string(seed));
    Stream a, b;
    Buffer<int> counter(std::vector<int>{0}), order(256);
    slots(counter.data(), order.data(), 2, 0, a.s);
    slots(counter.data(), order.data(), 2, 1000, b.s);
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    std::vector<int> streams;
    for (int v : order.get()) streams.push_back(v / 1000);
    orders.insert(streams);
  }
  EXPECT_EQ(orders.size(), 2u);
}

TEST_F(Streams, TheDefaultStreamJoinsBlockingStreams) {
  Stream blocking(cudaStreamDefault), free;
  Buffer<float> x(std::vector<float>(100, 1));
  add_one(x.data(), 100, blocking.s);
  add_one(x.data(), 100);
  add_one(x.data(), 100, blocking.s);
  EXPECT_EQ(x.get()[0], 4);
  EXPECT_EQ(all_findings(), "");
  add_one(x.data(), 100);
  add_one(x.data(), 100, free.s);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  expect_finding("unordered stream operations");
}

TEST_F(Streams, AnEventIsItsStreamWhenRecorded) {
  Stream a, b;
  Event e;
  Buffer<float> x(std::vector<float>(100, 1));
  EXPECT_EQ(cudaEventQuery(e.e), cudaSuccess);
  ASSERT_EQ(cudaStreamWaitEvent(b.s, e.e, 0), cudaSuccess);  // never recorded: nothing to wait for
  add_one(x.data(), 100, a.s);
  ASSERT_EQ(cudaEventRecord(e.e, a.s), cudaSuccess);
  ASSERT_EQ(cudaStreamWaitEvent(b.s, e.e, 0), cudaSuccess);
  add_one(x.data(), 100, b.s);
  Stream c;
  ASSERT_EQ(cudaEventRecord(e.e, c.s), cudaSuccess);  // the wait of b keeps what it had
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT_EQ(x.get()[0], 3);
  EXPECT_EQ(all_findings(), "");
  add_one(x.data(), 100, a.s);
  ASSERT_EQ(cudaStreamWaitEvent(b.s, e.e, 0), cudaSuccess);  // of c: no order after a
  add_one(x.data(), 100, b.s);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  expect_finding("unordered stream operations");
}

// A new stream takes the place of a destroyed one.
TEST_F(Streams, ANewOneComesAfterADestroyedOneIfTheHostHasSeenItsWork) {
  Buffer<float> x(std::vector<float>(100, 1));
  for (int i = 0; i < 3; ++i) {
    Stream s;
    add_one(x.data(), 100, s.s);
    ASSERT_EQ(cudaStreamSynchronize(s.s), cudaSuccess);
  }
  EXPECT_EQ(x.get()[0], 4);
  EXPECT_EQ(all_findings(), "");
  for (int i = 0; i < 2; ++i) {
    cudaStream_t unseen = nullptr;
    ASSERT_EQ(cudaStreamCreateWithFlags(&unseen, cudaStreamNonBlocking), cudaSuccess);
    add_one(x.data(), 100, unseen);
    ASSERT_EQ(cudaStreamDestroy(unseen), cudaSuccess);
  }
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  expect_finding("unordered stream operations");
}

TEST_F(Streams, PageableCopiesAreStagedAndOnlyThoseToTheHostWait) {
  Stream s;
  Buffer<float> x(std::vector<float>(100, 1));
  std::vector<float> host(100, 7);
  ASSERT_EQ(cudaMemcpyAsync(x.data(), host.data(), 400, cudaMemcpyHostToDevice, s.s), cudaSuccess);
  host.assign(100, 8);
  ASSERT_EQ(cudaMemcpyAsync(host.data(), x.data(), 400, cudaMemcpyDeviceToHost, s.s), cudaSuccess);
  EXPECT_EQ(host[99], 7);
  EXPECT_EQ(all_findings(), "");
  ASSERT_EQ(cudaMemcpy(x.data(), host.data(), 400, cudaMemcpyHostToDevice), cudaSuccess);  // staged: not yet there
  add_one(x.data(), 100, s.s);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  expect_finding("unordered stream operations", "'memcpy H2D'");
}

TEST_F(Streams, CountsHostWaitsAndLaunches) {
  Buffer<float> x(std::vector<float>(100, 1));
  Event e(cudaEventDefault), later(cudaEventDefault);
  forget();
  const auto before = count("host_waits");
  ASSERT_EQ(cudaEventRecord(e.e, nullptr), cudaSuccess);
  add_one(x.data(), 100);
  add_one(x.data(), 100);
  ASSERT_EQ(cudaEventRecord(later.e, nullptr), cudaSuccess);
  while (cudaEventQuery(later.e) == cudaErrorNotReady) {
  }
  EXPECT_EQ(cudaEventQuery(later.e), cudaSuccess);
  EXPECT_EQ(count("host_waits"), before + 1);
  EXPECT_EQ(count("launches"), 2u);
  ASSERT_EQ(cudaStreamSynchronize(nullptr), cudaSuccess);
  EXPECT_EQ(count("host_waits"), before + 2);
  float milliseconds = -1;
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, e.e, later.e), cudaSuccess);
  EXPECT_GE(milliseconds, 0);
}

// While the host is busy elsewhere the device goes on by itself.
TEST_F(Streams, WorkGoesOnWithoutTheHost) {
  Stream s;
  Buffer<float> x(std::vector<float>(100, 1));
  add_one(x.data(), 100, s.s);
  for (int k = 0; k < 200 && kernel("add_one").launches == 0; ++k) usleep(10000);
  EXPECT_EQ(kernel("add_one").launches, 1u);
}

}  // namespace
}  // namespace simgpu_test
