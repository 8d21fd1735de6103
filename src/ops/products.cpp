// Fills the arguments of the product kernels and lends them scratch memory.
#include "ops/products.h"

#include "switchyard/ops/packed.h"
#include "switchyard/tensor/kernel_args.h"

namespace switchyard::ops {
namespace {

// Offsets of several groups where kernels on `device` read them; undefined: they read the host's.
Tensor offsets_on(Device device, const std::vector<int64_t>& offsets, const Tensor& there) {
  if (device == Device::cpu || offsets.size() <= 2) return {};
  if (there.defined()) return there;
  return Tensor::of(offsets, {std::ssize(offsets)}, Purpose::buffers);
}

}  // namespace

void multiply(kernels::RowProduct product, const Tensor& rows, const Tensor& w, const WeightShape& shape,
              const std::vector<int64_t>& offsets, const Tensor& out, const Tensor& offsets_there) {
  const ProductWeights weights = product_weights(w, product, shape.G, shape.N, shape.K, offsets.back());
  kernels::RowProductArgs args{.product = product,
                               .rows = rows.raw(),
                               .w = weights.data,
                               .out = out.raw(),
                               .offsets = offsets.data(),
                               .host_offsets = offsets.data(),
                               .R = offsets.back(),
                               .G = shape.G,
                               .N = shape.N,
                               .K = shape.K,
                               .dtype = rows.dtype(),
                               .out_dtype = out.dtype(),
                               .is_packed = weights.is_packed,
                               .scratch = nullptr};
  const Tensor given = offsets_on(rows.device(), offsets, offsets_there);
  if (given.defined()) args.offsets = given.data<int64_t>();
  on_device(rows, [&](auto exec) {
    const Tensor scratch = scratch_of(kernels::row_product_scratch_bytes(exec, args));
    args.scratch = scratch.raw();
    kernels::row_product(exec, args);
  });
}

void multiply_for_weight(const Tensor& dy, const Tensor& x, const WeightShape& shape,
                         const std::vector<int64_t>& offsets, const Tensor& dw, bool accumulate,
                         const Tensor& offsets_there) {
  kernels::WeightGradientArgs args{.dy = dy.raw(),
                                   .x = x.raw(),
                                   .dw = dw.raw(),
                                   .offsets = offsets.data(),
                                   .host_offsets = offsets.data(),
                                   .R = offsets.back(),
                                   .G = shape.G,
                                   .N = shape.N,
                                   .K = shape.K,
                                   .dtype = x.dtype(),
                                   .accumulate = accumulate,
                                   .scratch = nullptr};
  const Tensor given = offsets_on(x.device(), offsets, offsets_there);
  if (given.defined()) args.offsets = given.data<int64_t>();
  on_device(x, [&](auto exec) {
    const Tensor scratch = scratch_of(kernels::weight_gradient_scratch_bytes(exec, args));
    args.scratch = scratch.raw();
    kernels::weight_gradient(exec, args);
  });
}

}  // namespace switchyard::ops
