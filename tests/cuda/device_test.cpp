// The device layer: choice of a GPU, streams and events, copies, the pool and allocations without it. An ordinary CUDA
// program: under the simulator it also asks for what that has found, and plays machines that lack something; on a GPU
// those tests report "skipped".
#include "switchyard/device/cuda.h"

#include "switchyard/base/error.h"
#include "tests/cuda/simulator.h"

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <exception>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace switchyard::device {
namespace {

constexpr int64_t kMiB = 1 << 20;

using test::is_simulated;
using test::simulator;

int64_t count(const char* what) { return simulator<long long(const char*)>("simgpu_count")(what); }
int findings() { return is_simulated() ? simulator<int()>("simgpu_finding_count")() : 0; }
void forget() {
  if (is_simulated()) simulator<void()>("simgpu_forget")();
}

// A setting of the simulator for a while; then it has the value that it starts with.
class Setting {
 public:
  Setting(const char* name, int64_t value, int64_t otherwise) : name_(name), otherwise_(otherwise) { set(value); }
  ~Setting() { set(otherwise_); }
  Setting(const Setting&) = delete;
  Setting& operator=(const Setting&) = delete;

 private:
  void set(int64_t value) {
    simulator<void(const char*, const char*)>("simgpu_set")(name_, std::to_string(value).c_str());
  }
  const char* name_;
  int64_t otherwise_;
};

class CudaDevice : public testing::Test {
 protected:
  void SetUp() override { forget(); }
  void TearDown() override {
    EXPECT_EQ(findings(), 0);
    forget();
  }
};

// A rank of its own, on its thread: its GPU is closed when it ends.
template <class Body>
void as_rank(const Options& options, Body&& body, const Place& place = {}) {
  std::exception_ptr thrown;
  std::thread([&] {
    try {
      open(place, options);
      body();
    } catch (...) {
      thrown = std::current_exception();
    }
  }).join();
  if (thrown) std::rethrow_exception(thrown);
}
constexpr Options kPool{.has_pool = true}, kNoPool{.has_pool = false};

void expect_says(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "wanted: " << part << "\nsaid: " << text;
}
void expect_refused(int local_rank, int ranks_here, const std::string& part) {
  try {
    as_rank(
        kPool, [] {}, Place{local_rank, ranks_here, false});
    FAIL() << "wanted: " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::usage);
    expect_says(error.what(), part);
  }
}

TEST_F(CudaDevice, IsDescribedInOneLine) {
  as_rank(kPool, [] {
    EXPECT_TRUE(is_open());
    const std::string line = describe();
    expect_says(line, "compute capability ");
    expect_says(line, ", driver ");
    expect_says(line, ", toolkit " + std::to_string(CUDART_VERSION / 1000) + ".");
    if (is_simulated()) expect_says(line, "Simulated");
  });
  EXPECT_FALSE(is_open());
}

TEST_F(CudaDevice, MissingDevicesAreRefused) {
  if (!is_simulated()) GTEST_SKIP() << "no simulator";
  {
    const Setting none("DEVICES", 0, 8);
    expect_refused(0, 1, "shows no GPU");
  }
  const Setting few("DEVICES", 2, 8);
  expect_refused(0, 3, "3 ranks on this machine, and it shows 2 GPUs");
}

TEST_F(CudaDevice, OldDriversAreRefused) {
  if (!is_simulated()) GTEST_SKIP() << "no simulator";
  {
    const Setting none("DRIVER", 0, CUDART_VERSION);
    expect_refused(0, 1, "has no NVIDIA driver");
  }
  const Setting old("DRIVER", 12040, CUDART_VERSION);
  expect_refused(0, 1, "the driver is for CUDA 12.4, and the program was built with");
}

TEST_F(CudaDevice, StreamsAreOrderedByEvents) {
  as_rank(kPool, [] {
    constexpr int64_t kBytes = 4096;
    void* data = memory()->allocate(kBytes, Purpose::buffers);
    void* const host = pinned_memory()->allocate(kBytes, Purpose::buffers);
    Event written, read;
    EXPECT_TRUE(written.is_done());  // nothing was recorded
    ASSERT_EQ(cudaMemsetAsync(data, 7, kBytes, compute().get()), cudaSuccess);
    written.record(compute());
    communication().wait(written);
    ASSERT_EQ(cudaMemcpyAsync(host, data, kBytes, cudaMemcpyDeviceToHost, communication().get()), cudaSuccess);
    read.record(communication());
    read.wait();
    EXPECT_TRUE(written.is_done());
    for (int64_t i = 0; i < kBytes; ++i) ASSERT_EQ(static_cast<const char*>(host)[i], 7);
    pinned_memory()->release(host, kBytes, Purpose::buffers);
    Event moved = std::move(read);
    EXPECT_TRUE(moved.is_done());
    memory()->release(data, kBytes, Purpose::buffers);
  });
}

TEST_F(CudaDevice, AMissingWaitIsSeen) {
  if (!is_simulated()) GTEST_SKIP() << "no simulator";
  as_rank(kPool, [] {
    void* data = memory()->allocate(64, Purpose::buffers);
    ASSERT_EQ(cudaMemsetAsync(data, 1, 64, compute().get()), cudaSuccess);
    ASSERT_EQ(cudaMemsetAsync(data, 2, 64, communication().get()), cudaSuccess);
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    memory()->release(data, 64, Purpose::buffers);
    EXPECT_EQ(findings(), 1);
    forget();
  });
}

TEST_F(CudaDevice, TheHostsWaitsAreCountedAndWatched) {
  as_rank(kPool, [] {
    Event event;
    event.record(compute());
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    const int64_t before = host_waits();
    wait_until(event);  // done: no wait
    EXPECT_EQ(host_waits(), before);
  });
}

TEST_F(CudaDevice, CopiesGoThroughTheStagingBufferPieceByPiece) {
  as_rank(kPool, [] {
    constexpr size_t kBytes = (9 << 20) + 13;  // more than two pieces, with a tail
    std::vector<unsigned char> from(kBytes), to(kBytes);
    for (size_t i = 0; i < kBytes; ++i) from[i] = static_cast<unsigned char>(i * 7 % 251);
    void* a = memory()->allocate(kBytes, Purpose::buffers);
    void* b = memory()->allocate(kBytes, Purpose::buffers);
    switchyard::copy_bytes(a, Device::cuda, from.data(), Device::cpu, kBytes);
    switchyard::copy_bytes(b, Device::cuda, a, Device::cuda, kBytes);
    switchyard::copy_bytes(to.data(), Device::cpu, b, Device::cuda, kBytes);
    switchyard::copy_bytes(nullptr, Device::cpu, nullptr, Device::cuda, 0);
    EXPECT_EQ(to, from);
    memory()->release(a, kBytes, Purpose::buffers);
    memory()->release(b, kBytes, Purpose::buffers);
  });
}

TEST_F(CudaDevice, ThePoolAsksTheDriverForNothingAfterWarmUp) {
  as_rank(kPool, [] {
    Allocator& pool = *memory();
    const auto step = [&] {
      std::vector<std::pair<void*, int64_t>> blocks;
      for (int64_t i = 0; i < 20; ++i) {
        const int64_t bytes = 1000 + i * 7919 % 5000;
        blocks.emplace_back(pool.allocate(bytes, Purpose::activations), bytes);
        EXPECT_EQ(reinterpret_cast<uintptr_t>(blocks.back().first) % 256, 0U);
        EXPECT_EQ(cudaMemsetAsync(blocks.back().first, 0, static_cast<size_t>(bytes), compute().get()), cudaSuccess);
      }
      for (const auto& [data, bytes] : blocks) pool.release(data, bytes, Purpose::activations);
    };
    step();
    const int64_t segments = pool.system_allocations(), calls = is_simulated() ? count("allocations") : 0;
    for (int i = 0; i < 5; ++i) step();
    EXPECT_EQ(pool.system_allocations(), segments);
    if (is_simulated()) {
      EXPECT_EQ(count("allocations"), calls);
    }
    EXPECT_EQ(pool.total().live_bytes, 0);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  });
}

TEST_F(CudaDevice, WithoutAPoolEveryAllocationIsTheDrivers) {
  as_rank(kNoPool, [] {
    const int64_t before = is_simulated() ? count("allocations") : 0;
    void* a = memory()->allocate(1000, Purpose::buffers);
    void* b = memory()->allocate(0, Purpose::buffers);
    EXPECT_NE(a, b);
    if (is_simulated()) {
      EXPECT_EQ(count("allocations"), before + 2);
    }
    memory()->release(a, 1000, Purpose::buffers);
    memory()->release(b, 0, Purpose::buffers);
  });
}

TEST_F(CudaDevice, OnlyWithoutAPoolIsAWriteBesideABlockSeen) {
  if (!is_simulated()) GTEST_SKIP() << "no simulator";
  for (const Options& options : {kPool, kNoPool})
    as_rank(options, [&] {
      void* data = memory()->allocate(1000, Purpose::buffers);
      cudaError_t status = cudaMemsetAsync(data, 0, 1001, compute().get());
      if (status == cudaSuccess) status = cudaStreamSynchronize(compute().get());
      EXPECT_EQ(status == cudaSuccess, options.has_pool);
      forget();
      memory()->release(data, 1000, Purpose::buffers);
    });
}

TEST_F(CudaDevice, OutOfMemoryNamesWhatIsInUse) {
  if (!is_simulated()) GTEST_SKIP() << "no simulator";
  const Setting small("MEMORY", 100 * kMiB, 8192 * kMiB);
  as_rank(kPool, [] {
    void* buffer = memory()->allocate(60 * kMiB, Purpose::buffers);
    try {
      memory()->allocate(50 * kMiB, Purpose::activations);
      FAIL() << "110 MiB of 100";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::internal);
      expect_says(error.what(), "out of memory on cuda");
      expect_says(error.what(), "buffers 60.0 MiB; the largest: 60.0 MiB of buffers");
    }
    EXPECT_EQ(cudaGetLastError(), cudaSuccess);  // the next launch must not meet it
    memory()->release(buffer, 60 * kMiB, Purpose::buffers);
    void* other = memory()->allocate(90 * kMiB, Purpose::activations);  // in place of the segment that nobody uses
    memory()->release(other, 90 * kMiB, Purpose::activations);
  });
}

}  // namespace
}  // namespace switchyard::device
