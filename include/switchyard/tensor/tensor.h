// A tensor is a view on shared storage: shape, strides, dtype, offset. Copying a tensor copies the handle.
// Raw views of a tensor that belongs to the autograd graph are refused: use the differentiable ones in ops/shape.h.
#pragma once

#include "switchyard/base/dtype.h"
#include "switchyard/base/error.h"
#include "switchyard/base/exec.h"
#include "switchyard/tensor/storage.h"
#ifdef SWITCHYARD_HAVE_CUDA
#include "switchyard/device/cuda.h"
#endif

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace switchyard {

namespace autograd {
struct Meta;
}

using Shape = std::vector<int64_t>;
int64_t numel_of(const Shape& shape);

// A shape as messages have it, "(2, 3)". The text is made by fmt where a message is, and no sooner: ops check shapes
// thousands of times a step.
struct ShapeText {
  const Shape& shape;
};
inline ShapeText shape_text(const Shape& shape) { return {shape}; }

class Tensor {
 public:
  Tensor() = default;  // undefined
  // On the thread's current device, as all that is made from nothing.
  static Tensor empty(Shape shape, DType dtype, Purpose purpose = Purpose::activations);
  static Tensor in(const std::shared_ptr<Allocator>& memory, Shape shape, DType dtype);  // host memory of another kind
  static Tensor zeros(Shape shape, DType dtype, Purpose purpose = Purpose::activations);
  static Tensor full(Shape shape, DType dtype, double value, Purpose purpose = Purpose::activations);
  template <class T>
  static Tensor of(const std::vector<T>& values, Shape shape, Purpose purpose = Purpose::activations);  // copies values

  bool defined() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  const Shape& strides() const { return strides_; }  // in elements
  int64_t rank() const { return static_cast<int64_t>(shape_.size()); }
  int64_t dim(int64_t d) const;  // negative counts from the end
  int64_t numel() const { return numel_; }
  int64_t rows() const { return dim(-1) == 0 ? 0 : numel_ / dim(-1); }  // product of all dims but the last
  int64_t bytes() const { return numel_ * size_of(dtype_); }
  DType dtype() const { return dtype_; }
  Device device() const;  // of one that is defined
  bool is_contiguous() const;
  const std::shared_ptr<Storage>& storage() const { return storage_; }

  std::byte* raw() const;  // first element, in the memory of its device
  template <class T>
  T* data() const {  // the same, typed: for kernels
    check(dtype_ == DTypeOf<T>::value, "tensor is {}, read as another type", name_of(dtype_));
    return reinterpret_cast<T*>(raw());
  }
  template <class T>
  T* host() const {  // the same, for loops on the host
    check(device() == Device::cpu, "a tensor on {} is read by the host", name_of(device()));
    return data<T>();
  }
  double item(int64_t index = 0) const;  // element of a contiguous tensor, as f64
  template <class T>
  std::vector<T> to_vector() const;  // converts, any strides

  // Raw views and copies (no gradient).
  Tensor view(Shape shape) const;  // contiguous only; one dim may be -1
  Tensor transpose(int64_t a, int64_t b) const;
  Tensor slice(int64_t d, int64_t begin, int64_t end) const;
  Tensor flat() const { return view({numel_}); }
  Tensor contiguous() const;                                   // itself if it is
  Tensor to(DType dtype) const;                                // itself if it has it; floating and integer dtypes
  Tensor to(Device device) const;                              // itself if it is there; otherwise a contiguous copy
  Tensor clone(Purpose purpose = Purpose::activations) const;  // contiguous copy
  void copy_from(const Tensor& other);                         // same shape; converts dtype; raises no version
  void fill(double value);
  void bump_version() const { ++storage_->version; }

  // Autograd (autograd/graph.h); null for a tensor outside the graph.
  const std::shared_ptr<autograd::Meta>& meta() const { return meta_; }
  void set_meta(std::shared_ptr<autograd::Meta> meta) { meta_ = std::move(meta); }
  Tensor detach() const;  // same view, outside the graph

 private:
  static Tensor over(Shape shape, DType dtype);  // without a storage
  std::shared_ptr<Storage> storage_;
  Shape shape_, strides_;
  int64_t offset_ = 0, numel_ = 0;  // offset in elements
  DType dtype_ = DType::f32;
  std::shared_ptr<autograd::Meta> meta_;
};

// Of a weight in a file: what convert_elements turns into any floating dtype.
constexpr bool is_stored_weight(DType dtype) { return is_floating(dtype) || dtype == DType::f16; }

// Adjacent elements from one dtype to another.
void convert_elements(const void* from, DType from_dtype, void* to, DType to_dtype, int64_t count);

using Tensors = std::vector<Tensor>;

// Calls body with the execution tag of the tensor's device.
template <class Body>
void on_device(const Tensor& t, Body&& body) {
#ifdef SWITCHYARD_HAVE_CUDA
  if (t.device() == Device::cuda) return body(exec::Cuda{device::compute().get()});
#endif
  check(t.device() == Device::cpu, "a tensor on {} in a program without CUDA", name_of(t.device()));
  body(exec::Cpu{});
}

}  // namespace switchyard

template <>
struct fmt::formatter<switchyard::ShapeText> {
  static constexpr auto parse(format_parse_context& context) { return context.begin(); }
  static format_context::iterator format(const switchyard::ShapeText& text, format_context& context);
};
