// A case of a table test of CUDA kernels. A kernel runs on the CPU, on the same inputs in f64, and on the device twice:
// with a grid as in production and, in another order of blocks, warps and atomics, with one of fewer blocks than there
// is work; both must give the same bits. Floating results may differ from the CPU's by 1e-5 in f32 and 2^-8 in bf16,
// norm-wise; integers are equal. A case has a most size, so that the simulator is done with it soon.
//   DeviceCase c(dtype);
//   auto &x = c.in({T, D}, dtype), &y = c.out({T, D}, dtype);
//   c.run([&](auto exec, auto at, DType d) { kernels::f(exec, {.x = at(x), .y = at(y), .T = T, .D = D, .dtype = d});
//   });
// Device memory is allocated one to one, so that the simulator and compute-sanitizer see the bounds of every array.
#pragma once

#include "kernels/cuda/max_blocks.h"
#include "switchyard/base/cuda_status.h"
#include "switchyard/device/cuda.h"
#include "tests/cuda/simulator.h"
#include "tests/support/compare.h"

#include <cuda_runtime_api.h>

#include <deque>
#include <optional>

namespace switchyard::test {

// At least one byte; `shift` bytes behind an aligned address.
class DeviceBytes {
 public:
  explicit DeviceBytes(int64_t bytes, int64_t shift = 0) : shift_(shift) {
    check_cuda(cudaMalloc(&base_, static_cast<size_t>(std::max<int64_t>(bytes + shift, 1))), "cudaMalloc");
  }
  ~DeviceBytes() { cudaFree(base_); }
  DeviceBytes(const DeviceBytes&) = delete;
  DeviceBytes& operator=(const DeviceBytes&) = delete;

  void* get() const { return static_cast<std::byte*>(base_) + shift_; }
  void upload(const void* from, int64_t bytes, cudaStream_t stream = nullptr) {
    check_cuda(cudaMemcpyAsync(get(), from, static_cast<size_t>(bytes), cudaMemcpyHostToDevice, stream), "upload");
  }
  void download(void* to, int64_t bytes, cudaStream_t stream = nullptr) const {
    check_cuda(cudaMemcpyAsync(to, get(), static_cast<size_t>(bytes), cudaMemcpyDeviceToHost, stream), "download");
    check_cuda(cudaStreamSynchronize(stream), "download");
  }

 private:
  void* base_ = nullptr;
  int64_t shift_;
};

// |got - expected| / |expected| in the 2-norm. Where an expected value is not finite, the same must be there.
inline double norm_error(const Tensor& got, const Tensor& expected) {
  if (got.shape() != expected.shape()) return HUGE_VAL;
  const std::vector<double> a = got.to_vector<double>(), b = expected.to_vector<double>();
  double error = 0, scale = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::isfinite(b[i])) {
      if (!std::isfinite(a[i])) return HUGE_VAL;
      error += (a[i] - b[i]) * (a[i] - b[i]);
      scale += b[i] * b[i];
    } else if (std::isnan(b[i]) ? !std::isnan(a[i]) : a[i] != b[i]) {
      return HUGE_VAL;
    }
  }
  return error == 0 ? 0 : std::sqrt(error / scale);
}

// Lowers the most blocks of a launch for its lifetime.
class MaxBlocks {
 public:
  explicit MaxBlocks(int64_t blocks) : previous_(kernels::cuda::max_blocks()) { kernels::cuda::max_blocks() = blocks; }
  ~MaxBlocks() { kernels::cuda::max_blocks() = previous_; }
  MaxBlocks(const MaxBlocks&) = delete;
  MaxBlocks& operator=(const MaxBlocks&) = delete;

 private:
  int64_t previous_;
};

class DeviceCase {
 public:
  struct Array {
    Tensor start;  // before the kernel; undefined: not written
    Shape shape;
    DType dtype;  // on the device; floating ones are f64 in the reference
    bool is_result;
    std::string name;
  };
  // Converts to a pointer to whatever the argument is.
  struct Pointer {
    void* p;
    template <class T>
    operator T*() const {
      return static_cast<T*>(p);
    }
  };

  // `shift`: elements by which arrays on the device miss 16-byte alignment
  explicit DeviceCase(int64_t shift = 0) : shift_(shift) {}

  // Of f32 and bf16 arrays on the CPU; without one they have the same dtype there, and results must be the same bits.
  std::optional<DType> reference = DType::f64;
  // Of a product or of attention, which are bounded by these; all else by instructions of lanes.
  std::optional<int64_t> multiply_adds;

  Array& in(Shape shape, DType dtype, double scale = 1) {
    const std::string name = fmt::format("array {}", arrays_.size());
    return in(random_tensor(std::move(shape), dtype, name, scale));
  }
  Array& in(const Tensor& values) { return add(values, values.shape(), values.dtype(), false); }
  Array& out(Shape shape, DType dtype) { return add({}, std::move(shape), dtype, true); }
  // A result that the kernel adds to, if `accumulate`
  Array& sum(const Shape& shape, DType dtype, bool accumulate) {
    return accumulate ? inout(random_tensor(shape, dtype, fmt::format("array {}", arrays_.size()))) : out(shape, dtype);
  }
  Array& inout(const Tensor& values) { return add(values, values.shape(), values.dtype(), true); }

  // body(execution tag, at, dtype of floating arrays): at(array) is a pointer, at(null) null, at.scratch(bytes) scratch
  template <class Body>
  void run(DType dtype, Body&& body) {
    const Tensors expected = on_cpu(dtype, body);
    const Tensors got = counted([&] { return on_device(dtype, body); });
    const Order other(1);
    const MaxBlocks few(3);
    const Tensors looping = on_device(dtype, body);
    for (size_t i = 0, r = 0; i < arrays_.size(); ++i) {
      if (!arrays_[i].is_result) continue;
      const std::string what = fmt::format("array {} of {}", i, name_of(arrays_[i].dtype));
      if (!same_bits(got[r], looping[r]))
        ADD_FAILURE() << what << " depends on the grid or on the order of what runs";
      else if (reference && is_floating(arrays_[i].dtype))
        EXPECT_LE(norm_error(got[r], expected[r]), arrays_[i].dtype == DType::bf16 ? 1.0 / 256 : 1e-5) << what;
      else
        EXPECT_TRUE(same_bits(got[r], expected[r])) << what;
      ++r;
    }
  }

 private:
  template <class Find>
  struct At {
    Find find;
    std::deque<Tensor>* host_scratch;
    std::deque<DeviceBytes>* device_scratch;

    Pointer operator()(const Array& array) const { return {find(array)}; }
    Pointer operator()(const Array* array) const { return {array ? find(*array) : nullptr}; }
    Pointer scratch(int64_t bytes) const {
      if (device_scratch) return {device_scratch->emplace_back(bytes).get()};
      return {host_scratch->emplace_back(Tensor::empty({bytes}, DType::u8)).raw()};
    }
  };

  Array& add(const Tensor& start, Shape shape, DType dtype, bool is_result) {
    return arrays_.emplace_back(start, std::move(shape), dtype, is_result);
  }
  size_t index_of(const Array& array) const {
    size_t i = 0;
    while (&arrays_[i] != &array) ++i;
    return i;
  }

  template <class Body>
  Tensors on_cpu(DType dtype, Body&& body) const {
    std::vector<Tensor> values;
    for (const Array& a : arrays_) {
      const bool varies = a.dtype == DType::f32 || a.dtype == DType::bf16;
      const DType type = varies ? reference.value_or(a.dtype) : a.dtype;
      values.push_back(a.start.defined() ? a.start.to(type).clone() : Tensor::empty(a.shape, type));
    }
    std::deque<Tensor> scratch;
    const auto find = [&](const Array& a) -> void* { return values[index_of(a)].raw(); };
    body(exec::Cpu{}, At<decltype(find)>{find, &scratch, nullptr}, reference.value_or(dtype));
    return results(values);
  }

  template <class Run>
  Tensors counted(Run&& run) const {
    if (multiply_adds) Budget::get().add(*multiply_adds, 20, "multiply-adds");
    if (multiply_adds || !is_simulated()) return run();
    const auto before = counters().instructions;
    const Tensors got = run();
    Budget::get().add(static_cast<int64_t>(counters().instructions - before), 30, "lane-instructions");
    return got;
  }

  template <class Body>
  Tensors on_device(DType dtype, Body&& body) const {
    const device::Stream stream;  // of its own: what a kernel does in another is not in order with its arrays
    std::deque<DeviceBytes> buffers, scratch;
    for (const Array& a : arrays_) {
      DeviceBytes& buffer = buffers.emplace_back(numel_of(a.shape) * size_of(a.dtype), shift_ * size_of(a.dtype));
      if (a.start.defined() && a.start.numel() > 0)
        buffer.upload(a.start.contiguous().raw(), a.start.bytes(), stream.get());
    }
    const auto find = [&](const Array& a) -> void* { return buffers[index_of(a)].get(); };
    body(exec::Cuda{stream.get()}, At<decltype(find)>{find, nullptr, &scratch}, dtype);
    check_cuda(cudaStreamSynchronize(stream.get()), "kernel");
    std::vector<Tensor> values;
    for (size_t i = 0; i < arrays_.size(); ++i) {
      values.push_back(Tensor::empty(arrays_[i].shape, arrays_[i].dtype));
      if (arrays_[i].is_result && values[i].numel() > 0)
        buffers[i].download(values[i].raw(), values[i].bytes(), stream.get());
    }
    return results(values);
  }

  Tensors results(const Tensors& values) const {
    Tensors found;
    for (size_t i = 0; i < arrays_.size(); ++i)
      if (arrays_[i].is_result) found.push_back(values[i]);
    return found;
  }

  std::deque<Array> arrays_;
  int64_t shift_;
};

}  // namespace switchyard::test
