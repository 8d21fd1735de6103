// Shapes, views and copies. Only copies touch elements; they go through kernels/copy.h.
#include "switchyard/tensor/tensor.h"

#include "kernels/copy.h"

#include <algorithm>

namespace switchyard {
namespace {

Shape contiguous_strides(const Shape& shape) {
  Shape strides(shape.size(), 1);
  for (size_t d = shape.size(); d-- > 1;) strides[d - 1] = strides[d] * shape[d];
  return strides;
}

int64_t checked_dim(int64_t d, int64_t rank) {
  const int64_t index = d < 0 ? d + rank : d;
  check(index >= 0 && index < rank, "dim {} of a tensor of rank {}", d, rank);
  return index;
}

// Between devices elements are put together and converted where they come from, and travel in one piece.
void copy_elements(const Tensor& from, const Tensor& to) {
  if (from.device() == to.device())
    return on_device(from, [&](auto exec) {
      kernels::copy(exec, {from.raw(), to.raw(), from.shape(), from.strides(), to.strides(), from.dtype(), to.dtype()});
    });
  const Tensor piece = from.to(to.dtype()).contiguous();
  if (!to.is_contiguous()) return copy_elements(piece.to(to.device()), to);
  copy_bytes(to.raw(), to.device(), piece.raw(), piece.device(), piece.bytes());
}

}  // namespace

int64_t numel_of(const Shape& shape) {
  int64_t product = 1;
  for (const int64_t extent : shape) {
    check(extent >= 0, "negative extent in shape {}", shape_text(shape));
    check(!__builtin_mul_overflow(product, extent, &product), "shape {} has more than 2^63 elements",
          shape_text(shape));
  }
  return product;
}

void convert_elements(const void* from, DType from_dtype, void* to, DType to_dtype, int64_t count) {
  const Shape shape{count}, strides{1};
  kernels::copy(exec::Cpu{}, {from, to, shape, strides, strides, from_dtype, to_dtype});
}

Storage::Storage(int64_t bytes, Purpose purpose, Device device)
    : Storage(bytes, purpose, device, Allocator::of(device)) {}

Storage::Storage(int64_t bytes, Purpose purpose, Device device, std::shared_ptr<Allocator> allocator)
    : allocator_(std::move(allocator)),
      data_(static_cast<std::byte*>(allocator_->allocate(bytes, purpose))),
      bytes_(bytes),
      purpose_(purpose),
      device_(device) {}

Storage::~Storage() { allocator_->release(data_, bytes_, purpose_); }

Tensor Tensor::over(Shape shape, DType dtype) {
  Tensor t;
  t.numel_ = numel_of(shape);
  int64_t bytes = 0;
  check(!__builtin_mul_overflow(t.numel_, size_of(dtype), &bytes), "tensor {} is too large", shape_text(shape));
  t.strides_ = contiguous_strides(shape);
  t.shape_ = std::move(shape);
  t.dtype_ = dtype;
  return t;
}

Tensor Tensor::empty(Shape shape, DType dtype, Purpose purpose) {
  Tensor t = over(std::move(shape), dtype);
  t.storage_ = std::make_shared<Storage>(t.bytes(), purpose);
  return t;
}

Tensor Tensor::in(const std::shared_ptr<Allocator>& memory, Shape shape, DType dtype) {
  Tensor t = over(std::move(shape), dtype);
  t.storage_ = std::make_shared<Storage>(t.bytes(), Purpose::buffers, Device::cpu, memory);
  return t;
}

Tensor Tensor::zeros(Shape shape, DType dtype, Purpose purpose) { return full(std::move(shape), dtype, 0.0, purpose); }

Tensor Tensor::full(Shape shape, DType dtype, double value, Purpose purpose) {
  Tensor t = empty(std::move(shape), dtype, purpose);
  t.fill(value);
  return t;
}

template <class T>
Tensor Tensor::of(const std::vector<T>& values, Shape shape, Purpose purpose) {
  Tensor t = empty(std::move(shape), DTypeOf<T>::value, purpose);
  check(t.numel() == static_cast<int64_t>(values.size()), "Tensor::of: {} values for shape {}", values.size(),
        shape_text(t.shape()));
  copy_bytes(t.raw(), t.device(), values.data(), Device::cpu, t.bytes());
  return t;
}

template <class T>
std::vector<T> Tensor::to_vector() const {
  if (device() != Device::cpu) return to(DTypeOf<T>::value).to(Device::cpu).template to_vector<T>();
  std::vector<T> values(static_cast<size_t>(numel_));
  kernels::copy(exec::Cpu{},
                {raw(), values.data(), shape_, strides_, contiguous_strides(shape_), dtype_, DTypeOf<T>::value});
  return values;
}

#define SWITCHYARD_INSTANTIATE(T)                                       \
  template Tensor Tensor::of<T>(const std::vector<T>&, Shape, Purpose); \
  template std::vector<T> Tensor::to_vector<T>() const;
SWITCHYARD_INSTANTIATE(double)
SWITCHYARD_INSTANTIATE(float)
SWITCHYARD_INSTANTIATE(bf16)
SWITCHYARD_INSTANTIATE(f16)
SWITCHYARD_INSTANTIATE(int64_t)
SWITCHYARD_INSTANTIATE(int32_t)
SWITCHYARD_INSTANTIATE(uint8_t)
#undef SWITCHYARD_INSTANTIATE

int64_t Tensor::dim(int64_t d) const { return shape_[static_cast<size_t>(checked_dim(d, rank()))]; }

bool Tensor::is_contiguous() const {
  int64_t expected = 1;
  for (size_t d = shape_.size(); d-- > 0;) {
    if (shape_[d] != 1 && strides_[d] != expected) return numel_ == 0;
    expected *= shape_[d];
  }
  return true;
}

Device Tensor::device() const {
  check(defined(), "undefined tensor asked for its device");
  return storage_->device();
}

std::byte* Tensor::raw() const {
  check(defined(), "undefined tensor read");
  return storage_->data() + offset_ * size_of(dtype_);
}

double Tensor::item(int64_t index) const {
  check(is_contiguous() && index >= 0 && index < numel_, "item {} of a tensor of shape {}", index, shape_text(shape_));
  if (device() != Device::cpu) return detach().flat().slice(0, index, index + 1).to(Device::cpu).item();
  double value = 0;
  const Shape one{1};
  kernels::copy(exec::Cpu{}, {raw() + index * size_of(dtype_), &value, one, one, one, dtype_, DType::f64});
  return value;
}

Tensor Tensor::view(Shape shape) const {
  check(is_contiguous(), "view: tensor of shape {} is not contiguous", shape_text(shape_));
  const auto unknown = std::find(shape.begin(), shape.end(), -1);
  if (unknown != shape.end()) {
    *unknown = 1;
    const int64_t rest = numel_of(shape);
    *unknown = rest == 0 ? 0 : numel_ / rest;
  }
  check(numel_of(shape) == numel_, "view: {} elements as shape {}", numel_, shape_text(shape));
  Tensor t = *this;
  check(meta_ == nullptr, "view: raw view of a tensor in the autograd graph");
  t.strides_ = contiguous_strides(shape);
  t.shape_ = std::move(shape);
  return t;
}

Tensor Tensor::transpose(int64_t a, int64_t b) const {
  check(meta_ == nullptr, "transpose: raw view of a tensor in the autograd graph");
  const auto i = static_cast<size_t>(checked_dim(a, rank())), j = static_cast<size_t>(checked_dim(b, rank()));
  Tensor t = *this;
  std::swap(t.shape_[i], t.shape_[j]);
  std::swap(t.strides_[i], t.strides_[j]);
  return t;
}

Tensor Tensor::slice(int64_t d, int64_t begin, int64_t end) const {
  check(meta_ == nullptr, "slice: raw view of a tensor in the autograd graph");
  const auto i = static_cast<size_t>(checked_dim(d, rank()));
  check(0 <= begin && begin <= end && end <= shape_[i], "slice [{}, {}) of dim {} of shape {}", begin, end, d,
        shape_text(shape_));
  Tensor t = *this;
  t.offset_ += begin * strides_[i];
  t.shape_[i] = end - begin;
  t.numel_ = numel_of(t.shape_);
  return t;
}

Tensor Tensor::contiguous() const { return is_contiguous() ? *this : clone(); }

Tensor Tensor::to(DType dtype) const {
  if (dtype == dtype_) return *this;
  check(meta_ == nullptr, "to: raw conversion of a tensor in the autograd graph");
  const DeviceScope scope(device());
  Tensor t = empty(shape_, dtype);
  copy_elements(*this, t);
  return t;
}

Tensor Tensor::to(Device device) const {
  if (device == this->device()) return *this;
  check(meta_ == nullptr, "to: raw copy of a tensor in the autograd graph");
  const DeviceScope scope(device);
  Tensor t = empty(shape_, dtype_, storage_->purpose());
  copy_elements(*this, t);
  return t;
}

Tensor Tensor::clone(Purpose purpose) const {
  const DeviceScope scope(device());
  Tensor t = empty(shape_, dtype_, purpose);
  copy_elements(*this, t);
  return t;
}

void Tensor::copy_from(const Tensor& other) {
  check(shape_ == other.shape_, "copy_from: shape {} into {}", shape_text(other.shape_), shape_text(shape_));
  copy_elements(other, *this);
}

void Tensor::fill(double value) {
  if (is_contiguous()) {
    on_device(*this, [&](auto exec) { kernels::fill(exec, raw(), numel_, dtype_, value); });
  } else {
    const DeviceScope scope(device());
    copy_from(full(shape_, dtype_, value));
  }
}

Tensor Tensor::detach() const {
  Tensor t = *this;
  t.meta_ = nullptr;
  return t;
}

}  // namespace switchyard

fmt::format_context::iterator fmt::formatter<switchyard::ShapeText>::format(const switchyard::ShapeText& text,
                                                                            format_context& context) {
  return fmt::format_to(context.out(), "({})", fmt::join(text.shape, ", "));
}
