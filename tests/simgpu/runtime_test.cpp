// The stand-in for the CUDA runtime: what it refuses, when statuses come, and what is ordered among streams.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>

#include "tests/simgpu/check_kernels.h"
#include "tests/simgpu/replay.h"
#include "tests/simgpu/runtime.h"
#include "tests/simgpu/support.h"

namespace simgpu_test {
namespace {

class Runtime : public Test {};

// ---- refusals: each row of the table, replayed

cudaError_t launch(dim3 grid, dim3 block, size_t shared, cudaStream_t stream = nullptr) {
  float* out = nullptr;
  int floats = 0;
  void* arguments[] = {&out, &floats};
  return cudaLaunchKernel(dynamic_shared_kernel(), grid, block, arguments, shared, stream);
}

struct Case {
  const char* row;
  std::function<cudaError_t()> call;
};

std::vector<Case> refusal_cases() {
  static void *p = nullptr, *host = nullptr;
  static int value = 0;
  static cudaDeviceProp properties;
  static float milliseconds = 0;
  static cudaStream_t stream;
  static cudaEvent_t event;
  const auto no_stream = reinterpret_cast<cudaStream_t>(&value);
  const auto no_event = reinterpret_cast<cudaEvent_t>(&value);
  return {
      {"any: stream", [=] { return cudaStreamSynchronize(no_stream); }},
      {"any: event", [=] { return cudaEventRecord(no_event, nullptr); }},
      {"cudaSetDevice: device", [] { return cudaSetDevice(99); }},
      {"cudaGetDeviceProperties: device", [] { return cudaGetDeviceProperties(&properties, -1); }},
      {"cudaMalloc: null pointer", [] { return cudaMalloc(static_cast<void**>(nullptr), 16); }},
      {"cudaMalloc: more than is free", [] { return cudaMalloc(&p, size_t{1} << 50); }},
      {"cudaMallocHost: null pointer", [] { return cudaMallocHost(static_cast<void**>(nullptr), 16); }},
      {"cudaMallocHost: more than is free", [] { return cudaMallocHost(&host, size_t{1} << 60); }},
      {"cudaFree: not allocated so, or freed", [] { return cudaFree(&value); }},
      {"cudaFreeHost: not allocated so, or freed", [] { return cudaFreeHost(&value); }},
      {"cudaMemcpy: direction", [] { return cudaMemcpy(&value, &value, 4, cudaMemcpyDeviceToHost); }},
      {"cudaMemcpy: range",
       [] {
         const Buffer<int> b(std::vector<int>{1, 2});
         int many[4] = {};
         return cudaMemcpy(b.data(), many, 16, cudaMemcpyHostToDevice);
       }},
      {"cudaMemset: range", [] { return cudaMemsetAsync(&value, 0, 4, nullptr); }},
      {"cudaStreamCreateWithFlags: flags", [] { return cudaStreamCreateWithFlags(&stream, 64); }},
      {"cudaEventCreateWithFlags: flags", [] { return cudaEventCreateWithFlags(&event, 64); }},
      {"cudaEventElapsedTime: event without timing or record",
       [] {
         const Event a(cudaEventDefault), b(cudaEventDefault);
         return cudaEventElapsedTime(&milliseconds, a.e, b.e);
       }},
      {"cudaLaunchKernel: function", [] { return cudaLaunchKernel(&value, dim3(1), dim3(1), nullptr, 0, nullptr); }},
      {"cudaLaunchKernel: block of no or more than 1024 threads", [] { return launch(dim3(1), dim3(1025), 0); }},
      {"cudaLaunchKernel: block dimension", [] { return launch(dim3(1), dim3(1, 1, 65), 0); }},
      {"cudaLaunchKernel: grid dimension", [] { return launch(dim3(1, 65536), dim3(1), 0); }},
      {"cudaLaunchKernel: dynamic shared memory beyond the attribute",
       [] { return launch(dim3(1), dim3(1), 48 * 1024 + 4); }},
      {"cudaFuncSetAttribute: function",
       [] { return cudaFuncSetAttribute(&value, cudaFuncAttributeMaxDynamicSharedMemorySize, 1024); }},
      {"cudaFuncSetAttribute: attribute",
       [] { return cudaFuncSetAttribute(dynamic_shared_kernel(), cudaFuncAttributeMax, 1); }},
      {"cudaFuncSetAttribute: more shared memory than a block can have",
       [] {
         return cudaFuncSetAttribute(dynamic_shared_kernel(), cudaFuncAttributeMaxDynamicSharedMemorySize, 227 * 1024);
       }},
  };
}

// Under the genuine library too.
TEST(RuntimeRefusals, EachRowIsRefusedWithItsStatus) {
  for (const auto& [name, ask] : refusal_cases()) {
    const std::string row = name, call = row.substr(0, row.find(": ")), argument = row.substr(row.find(": ") + 2);
    const auto is_row = [&](const auto& r) { return r.call == call && r.argument == argument; };
    const auto expected = std::ranges::find_if(switchyard::simgpu::refusals, is_row);
    ASSERT_NE(expected, switchyard::simgpu::refusals.end()) << row;
    replay("cudart", call, argument, expected->status, [&] {
      const cudaError_t status = ask();
      EXPECT_EQ(cudaGetLastError(), status) << row;
      EXPECT_EQ(cudaGetLastError(), cudaSuccess) << row;
      return status;
    });
  }
  if (simulated()) control<decltype(simgpu_forget)>("simgpu_forget")();
}

TEST_F(Runtime, LaunchBoundsAreKept) {
  const Ptx ptx(".reg .b32 %r<2>;\n", 1);
  EXPECT_EQ(ptx.run(1, 1024, static_cast<int*>(nullptr)), cudaSuccess);
  const Ptx bounded(
      {{".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k()\n.maxntid 64, 2, 1\n{\nret;\n}\n", 80}});
  EXPECT_EQ(cudaLaunchKernel(bounded.kernel(), dim3(1), dim3(128), nullptr, 0, nullptr), cudaSuccess);
  EXPECT_EQ(cudaLaunchKernel(bounded.kernel(), dim3(1), dim3(129), nullptr, 0, nullptr), cudaErrorLaunchOutOfResources);
}

TEST_F(Runtime, MoreDynamicSharedMemoryAfterTheAttribute) {
  Buffer<float> out(1);
  ASSERT_EQ(cudaFuncSetAttribute(dynamic_shared_kernel(), cudaFuncAttributeMaxDynamicSharedMemorySize, 200 * 1024),
            cudaSuccess);
  dynamic_shared(out.data(), 50 * 1024);
  ASSERT_EQ(cudaGetLastError(), cudaSuccess);
  EXPECT_EQ(out.get()[0], 50 * 1024);
}

// ---- devices and memory

TEST_F(Runtime, DevicesAndDriverAreSettable) {
  int n = -1;
  set("DEVICES", "0");
  EXPECT_EQ(cudaGetDeviceCount(&n), cudaErrorNoDevice);
  EXPECT_EQ(n, 0);
  void* p = nullptr;
  EXPECT_EQ(cudaMalloc(&p, 16), cudaErrorNoDevice);
  set("DEVICES", "2");
  EXPECT_EQ(cudaGetDeviceCount(&n), cudaSuccess);
  EXPECT_EQ(n, 2);
  EXPECT_EQ(cudaSetDevice(2), cudaErrorInvalidDevice);
  set("DRIVER", "12080");
  EXPECT_EQ(cudaGetDeviceCount(&n), cudaErrorInsufficientDriver);
  EXPECT_EQ(cudaDriverGetVersion(&n), cudaSuccess);
  EXPECT_EQ(n, 12080);
  set("DRIVER", "13020");
  EXPECT_EQ(cudaGetDeviceCount(&n), cudaSuccess);
  set("DEVICES", "8");
  EXPECT_STREQ(cudaGetErrorName(cudaErrorInsufficientDriver), "cudaErrorInsufficientDriver");
  EXPECT_STREQ(cudaGetErrorString(cudaErrorMemoryAllocation), "out of memory");
  cudaGetLastError();
}

TEST_F(Runtime, CapabilityIsSettable) {
  cudaDeviceProp p;
  for (const auto& [text, shared] :
       std::vector<std::pair<std::string, size_t>>{{"8.0", 163}, {"8.6", 99}, {"9.0", 227}, {"10.0", 227}}) {
    set("CC", text);
    ASSERT_EQ(cudaGetDeviceProperties(&p, 0), cudaSuccess);
    EXPECT_EQ(std::to_string(p.major) + '.' + std::to_string(p.minor), text);
    EXPECT_EQ(p.sharedMemPerBlockOptin, shared * 1024);
  }
  set("CC", "9.0");
}

TEST_F(Runtime, MemoryHasALimitAndAllocationsCanFail) {
  set("MEMORY", "1000000");
  void *a = nullptr, *b = nullptr;
  ASSERT_EQ(cudaMalloc(&a, 600000), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&b, 600000), cudaErrorMemoryAllocation);
  EXPECT_EQ(b, nullptr);
  ASSERT_EQ(cudaFree(a), cudaSuccess);
  ASSERT_EQ(cudaMalloc(&b, 600000), cudaSuccess);
  ASSERT_EQ(cudaFree(b), cudaSuccess);
  set("MEMORY", "8000000000");
  forget();
  set("FAIL_ALLOCATION", "2");
  ASSERT_EQ(cudaMalloc(&a, 16), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&b, 16), cudaErrorMemoryAllocation);
  set("FAIL_ALLOCATION", "0");
  EXPECT_EQ(cudaMalloc(&b, 16), cudaSuccess);
  EXPECT_EQ(count("allocations"), 3u);
  cudaFree(a);
  cudaFree(b);
  cudaGetLastError();
}

long resident_pages() {
  std::ifstream file("/proc/self/statm");
  long all = 0, resident = 0;
  file >> all >> resident;
  return resident;
}
TEST_F(Runtime, FreedMemoryIsGivenBackWithItsShadow) {
  long most = 0, first = 0;
  for (int round = 0; round < 12; ++round) {
    Buffer<float> x(std::vector<float>(1 << 20, 1));
    add_one(x.data(), 1 << 20);
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    most = std::max(most, resident_pages());
    if (round == 1) first = most;
  }
  EXPECT_LT(most, first + first / 4);
}

TEST_F(Runtime, NamesOfOperationsDoNotWrap) {
  Stream a, b;
  Buffer<float> x(std::vector<float>(128, 1)), y(std::vector<float>(1, 0));
  add_one(x.data(), 128, a.s);
  for (int k = 0; k < (1 << 18) + 10; ++k) ASSERT_EQ(cudaMemsetAsync(y.data(), 0, 4, b.s), cudaSuccess);
  add_one(x.data(), 128, b.s);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  expect_finding("unordered stream operations",
                 "with no ordering after 'simgpu_test::(anonymous namespace)::add_one_kernel'");
}

// ---- faults

TEST_F(Runtime, FaultsComeAtTheNextWaitAndStay) {
  Buffer<float> x(std::vector<float>(3, 0));
  out_of_bounds(x.data(), 3);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
  void* p = nullptr;
  EXPECT_EQ(cudaGetLastError(), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaGetLastError(), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaMalloc(&p, 16), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaMemcpy(&p, x.data(), 4, cudaMemcpyDeviceToHost), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaStreamSynchronize(nullptr), cudaErrorIllegalAddress);
  add_one(x.data(), 3);
  EXPECT_EQ(cudaGetLastError(), cudaErrorIllegalAddress);
  forget();
  EXPECT_EQ(x.get()[0], 0);
}

using RuntimeDeathTest = Runtime;
TEST_F(RuntimeDeathTest, AFaultThatNobodyAsksForEndsTheProcessWith66) {
  EXPECT_EXIT(
      {
        Buffer<float> x(std::vector<float>(3, 0));
        out_of_bounds(x.data(), 3);
        cudaDeviceSynchronize();
        std::exit(0);
      },
      testing::ExitedWithCode(66), "device fault: an illegal read");
}
TEST_F(RuntimeDeathTest, HostCodeMayNotTouchDeviceMemory) {
  EXPECT_DEATH(
      {
        Buffer<float> x(std::vector<float>(3, 0));
        x.data()[1] = 1;
      },
      "host code touches device memory: byte 4 of allocation #");
}

TEST_F(RuntimeDeathTest, PinnedTargetMayNotBeReadBeforeTheHostHasWaited) {
  EXPECT_DEATH(
      {
        Stream s;
        Buffer<float> x(std::vector<float>(100, 0));
        Pinned host(100);
        cudaMemcpyAsync(host.data(), x.data(), 400, cudaMemcpyDeviceToHost, s.s);
        std::printf("%g\n", static_cast<double>(host.data()[3]));
      },
      "host code touches pinned memory of 'memcpy D2H' before it has synchronised");
}
TEST_F(RuntimeDeathTest, PinnedSourceMayNotBeWrittenBeforeTheHostHasWaited) {
  EXPECT_DEATH(
      {
        Stream s;
        Buffer<float> x(100);
        Pinned host(100);
        cudaMemcpyAsync(x.data(), host.data(), 400, cudaMemcpyHostToDevice, s.s);
        host.data()[3] = 1;
      },
      "host code touches pinned memory of 'memcpy H2D' before it has synchronised");
}
TEST_F(Runtime, PinnedMemoryIsTheHostsAfterAWait) {
  Stream s;
  Event e;
  Buffer<float> x(std::vector<float>(2000, 3));
  Pinned host(2000);
  host.data()[0] = 1;
  ASSERT_EQ(cudaMemcpyAsync(host.data(), x.data(), 8000, cudaMemcpyDeviceToHost, s.s), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(e.e, s.s), cudaSuccess);
  while (cudaEventQuery(e.e) == cudaErrorNotReady) {
  }
  EXPECT_EQ(host.data()[1999], 3);
  host.data()[0] = 5;
  ASSERT_EQ(cudaMemcpyAsync(x.data(), host.data(), 8000, cudaMemcpyHostToDevice, s.s), cudaSuccess);
  EXPECT_EQ(host.data()[0], 5);  // its source may be read all the time
  ASSERT_EQ(cudaStreamSynchronize(s.s), cudaSuccess);
  host.data()[0] = 6;
  EXPECT_EQ(x.get()[0], 5);
}

// ---- loading

TEST_F(Runtime, TakesTheNewestPtxThatTheDeviceCanRun) {
  auto ptx = [](int value) {
    return ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 p0)\n{\n.reg .b64 "
           "%q<2>;\nld.param.u64 %q1, [p0];\nst.global.u32 [%q1], " +
           std::to_string(value) + ";\nret;\n}\n";
  };
  for (const auto& [cc, expected] :
       std::vector<std::pair<std::string, int>>{{"8.6", 80}, {"9.0", 90}, {"10.0", 100}, {"12.0", 100}}) {
    set("CC", cc);
    const Ptx newest({{ptx(80), 80}, {ptx(100), 100}, {ptx(90), 90}});
    ASSERT_EQ(newest.status(), cudaSuccess);
    Buffer<int> out(1);
    ASSERT_EQ(newest.run(1, 1, out.data()), cudaSuccess);
    EXPECT_EQ(out.get()[0], expected);
  }
  set("CC", "8.0");  // what nvcc embedded in this program is for 9.0, packed
  EXPECT_EQ(Ptx({{ptx(90), 90}}).status(), cudaErrorNoKernelImageForDevice);
  set("CC", "9.0");
  cudaGetLastError();
}

// Programs under the sanitizers start on the simulated device (they are built beside this test).
TEST_F(Runtime, SanitizedProgramsStart) {
  const std::string folder = std::filesystem::read_symlink("/proc/self/exe").parent_path().string();
  for (const std::string name : {"simgpu_address_program", "simgpu_thread_program"}) {
    EXPECT_EQ(std::system(("'" + folder + '/' + name + "'").c_str()), 0) << name;
  }
}

TEST_F(Runtime, ReportIsOneFileOfJson) {
  const std::string folder = std::filesystem::read_symlink("/proc/self/exe").parent_path().string(),
                    path = testing::TempDir() + "simgpu-report-%r.json";
  const std::string command =
      "OMPI_COMM_WORLD_RANK=3 SIMGPU_SEED=1 SIMGPU_OPERATIONS=1 SIMGPU_REPORT='" + path + "' '" + folder +
      "/test_simgpu' --gtest_also_run_disabled_tests --gtest_filter=*PrintsItsOrder >/dev/null 2>&1";
  ASSERT_EQ(std::system(command.c_str()), 0);
  std::ifstream file(testing::TempDir() + "simgpu-report-3.json");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  for (const char* part :
       {"\"seed\": 1", "\"launches\"", "\"findings\": []", "\"operations\"", "\"memcpy D2H\"", "\"kernels\""}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " in " << text;
  }
  std::remove((testing::TempDir() + "simgpu-report-3.json").c_str());
}

}  // namespace
}  // namespace simgpu_test
