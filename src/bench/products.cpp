// Operands are made once per shape; each row of the table then repeats one product.
#include "bench/products.h"

#include "bench/timing.h"
#include "kernels/products.h"
#include "switchyard/tensor/kernel_args.h"

#include <numeric>

namespace switchyard::bench {
namespace {

using kernels::RowProduct;

constexpr exec::Cpu kCpu;

struct Operands {
  ProductShape shape;
  DType dtype;
  std::vector<int64_t> offsets;
  Tensor x_RK, dy_RN, w_GNK, result;

  Operands(const ProductShape& s, DType d) : shape(s), dtype(d), offsets(static_cast<size_t>(s.groups + 1)) {
    for (size_t g = 1; g < offsets.size(); ++g) offsets[g] = offsets[g - 1] + s.rows;
    x_RK = random_operand({offsets.back(), s.inputs}, d);
    dy_RN = random_operand({offsets.back(), s.outputs}, d);
    w_GNK = random_operand({s.groups, s.outputs, s.inputs}, d);
  }
  double gflops(double seconds) const { return shape.flops() / seconds / 1e9; }
};

double row_product_rate(const Operands& o, RowProduct product, bool is_packed, double seconds) {
  const bool is_forward = product == RowProduct::forward;
  kernels::PackArgs pack{product, o.w_GNK.raw(), nullptr, o.shape.groups, o.shape.outputs, o.shape.inputs, o.dtype};
  const Tensor packed = scratch_of(is_packed ? kernels::packed_bytes(kCpu, pack) : 0);
  pack.packed = packed.raw();
  if (is_packed) kernels::pack_weights(kCpu, pack);
  const Tensor out =
      Tensor::empty({o.offsets.back(), is_forward ? o.shape.outputs : o.shape.inputs}, o.dtype, Purpose::buffers);
  kernels::RowProductArgs args{.product = product,
                               .rows = is_forward ? o.x_RK.raw() : o.dy_RN.raw(),
                               .w = is_packed ? packed.raw() : o.w_GNK.raw(),
                               .out = out.raw(),
                               .offsets = o.offsets.data(),
                               .host_offsets = o.offsets.data(),
                               .R = o.offsets.back(),
                               .G = o.shape.groups,
                               .N = o.shape.outputs,
                               .K = o.shape.inputs,
                               .dtype = o.dtype,
                               .out_dtype = o.dtype,
                               .is_packed = is_packed,
                               .scratch = nullptr};
  const Tensor scratch = scratch_of(kernels::row_product_scratch_bytes(kCpu, args));
  args.scratch = scratch.raw();
  return o.gflops(best_seconds(seconds, [&] { kernels::row_product(kCpu, args); }));
}

double weight_gradient_rate(const Operands& o, double seconds) {
  const Tensor dw = Tensor::zeros(o.w_GNK.shape(), DType::f32, Purpose::buffers);
  kernels::WeightGradientArgs args{.dy = o.dy_RN.raw(),
                                   .x = o.x_RK.raw(),
                                   .dw = dw.raw(),
                                   .offsets = o.offsets.data(),
                                   .host_offsets = o.offsets.data(),
                                   .R = o.offsets.back(),
                                   .G = o.shape.groups,
                                   .N = o.shape.outputs,
                                   .K = o.shape.inputs,
                                   .dtype = o.dtype,
                                   .accumulate = false,
                                   .scratch = nullptr};
  const Tensor scratch = scratch_of(kernels::weight_gradient_scratch_bytes(kCpu, args));
  args.scratch = scratch.raw();
  return o.gflops(best_seconds(seconds, [&] { kernels::weight_gradient(kCpu, args); }));
}

double packing_seconds(const Operands& o, double seconds) {
  kernels::PackArgs pack{RowProduct::forward, o.w_GNK.raw(),  nullptr, o.shape.groups,
                         o.shape.outputs,     o.shape.inputs, o.dtype};
  const Tensor packed = scratch_of(kernels::packed_bytes(kCpu, pack));
  pack.packed = packed.raw();
  return best_seconds(seconds, [&] { kernels::pack_weights(kCpu, pack); });
}

}  // namespace

Tensor random_operand(Shape shape, DType dtype) {
  const Tensor t = Tensor::empty(std::move(shape), dtype, Purpose::buffers);
  on_floating(dtype, [&](auto zero) {
    using T = decltype(zero);
    auto* out = reinterpret_cast<T*>(t.raw());
    uint32_t state = 1;
    for (int64_t i = 0; i < t.numel(); ++i) {
      state = state * 1664525u + 1013904223u;
      out[i] = T(static_cast<float>(state >> 8) * 0x1p-23f - 1.0f);
    }
  });
  return t;
}

std::vector<ProductRate> product_rates(const ProductShape& shape, DType dtype, double seconds) {
  const Operands o(shape, dtype);
  std::vector<ProductRate> rates;
  auto add = [&](const char* what, double gflops) {
    rates.push_back({what, dtype, shape.groups, shape.rows, shape.outputs, shape.inputs, gflops});
  };
  add("forward, plain weights", row_product_rate(o, RowProduct::forward, false, seconds));
  add("forward, packed weights", row_product_rate(o, RowProduct::forward, true, seconds));
  add("forward, packed in every call",
      o.gflops(shape.flops() / 1e9 / rates.back().gflops + packing_seconds(o, seconds)));
  add("input gradient, plain weights", row_product_rate(o, RowProduct::input_gradient, false, seconds));
  add("input gradient, packed weights", row_product_rate(o, RowProduct::input_gradient, true, seconds));
  add("weight gradient", weight_gradient_rate(o, seconds));
  return rates;
}

}  // namespace switchyard::bench
