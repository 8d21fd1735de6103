// For the tests of the simulator: its control functions, device buffers, and kernels from PTX text. The tests are
// ordinary CUDA programs; what only the simulator knows is skipped under the genuine library.
#pragma once

#include <cuda_runtime.h>
#include <dlfcn.h>
#include <fatbinary_section.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "tests/simgpu/control.h"

// What the code that nvcc generates calls at the start of a program.
extern "C" void** __cudaRegisterFatBinary(void* wrapper);
extern "C" void __cudaRegisterFunction(void** image, const char* host, char* device, const char* name, int, uint3*,
                                       uint3*, dim3*, dim3*, int*);

namespace simgpu_test {

template <class F>
F* control(const char* name) {
  return reinterpret_cast<F*>(dlsym(RTLD_DEFAULT, name));
}
inline bool simulated() { return control<decltype(simgpu_forget)>("simgpu_forget") != nullptr; }
inline void set(const char* name, const std::string& value) {
  control<decltype(simgpu_set)>("simgpu_set")(name, value.c_str());
}
inline unsigned long long count(const char* name) { return control<decltype(simgpu_count)>("simgpu_count")(name); }
inline SimgpuKernelCounters kernel(const char* name) { return control<decltype(simgpu_kernel)>("simgpu_kernel")(name); }
inline std::string fault() { return control<decltype(simgpu_fault)>("simgpu_fault")(); }

inline std::vector<std::string> findings() {
  std::vector<std::string> all;
  const int n = control<decltype(simgpu_finding_count)>("simgpu_finding_count")();
  for (int k = 0; k < n; ++k) all.push_back(control<decltype(simgpu_finding)>("simgpu_finding")(k));
  return all;
}
inline std::string all_findings() {
  std::string text;
  for (const std::string& f : findings()) text += f + '\n';
  return text;
}

// Before and after each test nothing is known; a test that leaves findings has failed.
class Test : public testing::Test {
 protected:
  void SetUp() override {
    if (!simulated()) GTEST_SKIP() << "asks what the simulator found";
    forget();
    set("SEED", "1");
  }
  void TearDown() override {
    if (!simulated()) return;
    EXPECT_EQ(all_findings(), "");
    forget();
  }
  static void forget() { control<decltype(simgpu_forget)>("simgpu_forget")(); }
  // There is a finding of this kind, whose text has this part.
  static void expect_finding(const std::string& kind, const std::string& part = "") {
    bool found = false;
    for (const std::string& f : findings()) found |= f.starts_with(kind + ": ") && f.find(part) != std::string::npos;
    EXPECT_TRUE(found) << "no finding '" << kind << "' with '" << part << "' in:\n" << all_findings();
    forget();
  }
  static void expect_fault(cudaError_t status, const std::string& part) {
    EXPECT_EQ(cudaDeviceSynchronize(), status);
    EXPECT_NE(fault().find(part), std::string::npos) << fault();
    forget();
  }
};

template <class T>
class Buffer {
 public:
  explicit Buffer(size_t count) : count_(count) { EXPECT_EQ(cudaMalloc(&p_, count * sizeof(T)), cudaSuccess); }
  explicit Buffer(const std::vector<T>& values) : Buffer(values.size()) { set(values); }
  ~Buffer() {
    cudaDeviceSynchronize();
    cudaFree(p_);
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  void set(const std::vector<T>& values) {
    EXPECT_EQ(cudaMemcpy(p_, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice), cudaSuccess);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  }
  std::vector<T> get() const {
    std::vector<T> values(count_);
    EXPECT_EQ(cudaMemcpy(values.data(), p_, count_ * sizeof(T), cudaMemcpyDeviceToHost), cudaSuccess);
    return values;
  }
  T* data() const { return static_cast<T*>(p_); }
  size_t size() const { return count_; }

 private:
  void* p_ = nullptr;
  size_t count_;
};

// Kernels `k`, for one architecture each, in a container as nvcc embeds it.
class Ptx {
 public:
  struct Entry {
    std::string text;
    uint32_t architecture;
  };
  explicit Ptx(const std::vector<Entry>& entries) : text_(entries.at(0).text) {
    std::string all;
    for (const Entry& e : entries) {
      struct {
        uint16_t kind = 1, version = 0x101;
        uint32_t header_bytes = 64;
        uint64_t payload = 0;
        uint32_t packed = 0, options = 0;
        uint16_t minor = 0, major = 8;
        uint32_t architecture = 0, name = 0, name_bytes = 0;
        uint64_t flags = 0, reserved = 0, unpacked = 0;
      } header;
      header.architecture = e.architecture;
      header.payload = (e.text.size() + 8) / 8 * 8;
      all += std::string(reinterpret_cast<const char*>(&header), sizeof header) + e.text;
      all.resize(all.size() + header.payload - e.text.size());
    }
    struct {
      uint32_t magic = 0xba55ed50;
      uint16_t version = 1, header_bytes = 16;
      uint64_t bytes = 0;
    } header;
    header.bytes = all.size();
    container_ = std::string(reinterpret_cast<const char*>(&header), sizeof header) + all;
    wrapper_.data = reinterpret_cast<const unsigned long long*>(container_.data());
    __cudaRegisterFunction(__cudaRegisterFatBinary(&wrapper_), &handle_, nullptr, "k", -1, nullptr, nullptr, nullptr,
                           nullptr, nullptr);
    status_ = cudaFuncSetAttribute(&handle_, cudaFuncAttributeMaxDynamicSharedMemorySize, 0);  // which loads it
  }
  // From the body of a kernel whose parameters are pointers p0, p1...
  Ptx(const std::string& body, int parameters) : Ptx({{whole(body, parameters), 80}}) {}
  ~Ptx() { cudaDeviceSynchronize(); }
  Ptx(const Ptx&) = delete;
  Ptx& operator=(const Ptx&) = delete;
  cudaError_t status() const { return status_; }
  const std::string& text() const { return text_; }
  const void* kernel() const { return &handle_; }
  template <class... T>
  cudaError_t run(unsigned blocks, unsigned threads, T*... pointers) const {
    void* values[] = {const_cast<void*>(static_cast<const void*>(pointers))...};
    void* arguments[sizeof...(T)];
    for (size_t n = 0; n < sizeof...(T); ++n) arguments[n] = &values[n];
    return cudaLaunchKernel(&handle_, dim3(blocks), dim3(threads), arguments, 0, nullptr);
  }

 private:
  static std::string whole(const std::string& body, int parameters) {
    std::string text = ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k(";
    for (int n = 0; n < parameters; ++n) text += (n ? ", .param .u64 p" : ".param .u64 p") + std::to_string(n);
    return text + ")\n{\n" + body + "ret;\n}\n";
  }

  std::string text_, container_;
  __fatBinC_Wrapper_t wrapper_{};
  char handle_ = 0;  // its address stands for the kernel
  cudaError_t status_ = cudaErrorUnknown;
};

struct Stream {
  explicit Stream(unsigned flags = cudaStreamNonBlocking) {
    EXPECT_EQ(cudaStreamCreateWithFlags(&s, flags), cudaSuccess);
  }
  ~Stream() {
    cudaStreamSynchronize(s);
    cudaStreamDestroy(s);
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  cudaStream_t s = nullptr;
};
struct Event {
  explicit Event(unsigned flags = cudaEventDisableTiming) {
    EXPECT_EQ(cudaEventCreateWithFlags(&e, flags), cudaSuccess);
  }
  ~Event() { cudaEventDestroy(e); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  cudaEvent_t e = nullptr;
};

struct Pinned {
  explicit Pinned(size_t count) { EXPECT_EQ(cudaMallocHost(&p, count * sizeof(float)), cudaSuccess); }
  ~Pinned() { cudaFreeHost(p); }
  float* data() const { return static_cast<float*>(p); }
  void* p = nullptr;
};
class Instructions : public Test {
 protected:
  // One warp: each lane has its word of in as %r1 (and of in2 as %r2), and leaves %r0 in out.
  std::vector<uint32_t> run(const std::string& body, const std::vector<uint32_t>& in,
                            const std::vector<uint32_t>& in2 = std::vector<uint32_t>(32)) {
    const Ptx ptx(
        ".reg .pred %p<9>; .reg .b16 %h<9>; .reg .b32 %r<20>; .reg .b64 %q<20>; .reg .b32 %t;\n"
        "mov.u32 %t, %tid.x; mul.wide.u32 %q0, %t, 4;\n"
        "ld.param.u64 %q1, [p1]; add.s64 %q1, %q1, %q0; ld.global.u32 %r1, [%q1];\n"
        "ld.param.u64 %q2, [p2]; add.s64 %q2, %q2, %q0; ld.global.u32 %r2, [%q2];\n" +
            body + "\nld.param.u64 %q3, [p0]; add.s64 %q3, %q3, %q0; st.global.u32 [%q3], %r0;\n",
        3);
    EXPECT_EQ(ptx.status(), cudaSuccess) << ptx.text() << all_findings();
    Buffer<uint32_t> out(32), a(in), b(in2);
    EXPECT_EQ(ptx.run(1, 32, out.data(), a.data(), b.data()), cudaSuccess);
    return out.get();
  }
  static std::vector<uint32_t> words(uint32_t seed) {
    std::mt19937 random(seed);
    std::vector<uint32_t> all(32);
    for (uint32_t& v : all) v = static_cast<uint32_t>(random());
    return all;
  }
};

}  // namespace simgpu_test
