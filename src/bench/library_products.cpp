// oneDNN called as most programs do: one kernel for exactly this shape, the library's own threads. A reference for our
// way of using it, and part of the roof where it is faster.
#include "bench/products.h"
#include "bench/timing.h"

#include <dnnl.hpp>

namespace switchyard::bench {
namespace {

using dnnl::memory;
using Tag = memory::format_tag;

dnnl::matmul::primitive_desc describe(const dnnl::engine& engine, const memory::desc& a, const memory::desc& b,
                                      const memory::desc& c) {
#if DNNL_VERSION_MAJOR >= 3
  return {engine, a, b, c};
#else
  return {dnnl::matmul::desc(a, b, c), engine};
#endif
}

double library_rate(const ProductShape& shape, DType dtype, Tag weights, double seconds) {
  const auto type = dtype == DType::bf16 ? memory::data_type::bf16 : memory::data_type::f32;
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  const dnnl::stream stream(engine);
  const auto description =
      describe(engine, {{shape.rows, shape.inputs}, type, Tag::ab}, {{shape.inputs, shape.outputs}, type, weights},
               {{shape.rows, shape.outputs}, type, Tag::ab});
  const dnnl::matmul product(description);
  const auto elements = [&](const memory::desc& layout) {
    return Shape{static_cast<int64_t>(layout.get_size()) / size_of(dtype)};
  };
  const Tensor a = random_operand(elements(description.src_desc()), dtype);
  const Tensor b = random_operand(elements(description.weights_desc()), dtype);
  const Tensor c = random_operand(elements(description.dst_desc()), dtype);
  const std::unordered_map<int, memory> args{{DNNL_ARG_SRC, {description.src_desc(), engine, a.raw()}},
                                             {DNNL_ARG_WEIGHTS, {description.weights_desc(), engine, b.raw()}},
                                             {DNNL_ARG_DST, {description.dst_desc(), engine, c.raw()}}};
  return shape.flops() / 1e9 / best_seconds(seconds, [&] { product.execute(stream, args); });
}

}  // namespace

std::vector<ProductRate> library_rates(const ProductShape& shape, DType dtype, double seconds) {
  std::vector<ProductRate> rates;
#ifndef SWITCHYARD_TSAN
  for (const auto& [what, weights] : {std::pair{"library's threads, plain weights", Tag::ba},
                                      std::pair{"library's threads, packed weights", Tag::any}})
    try {
      rates.push_back(
          {what, dtype, 1, shape.rows, shape.outputs, shape.inputs, library_rate(shape, dtype, weights, seconds)});
    } catch (const dnnl::error& error) {
      if (error.status != dnnl_unimplemented) throw;  // bf16 without AVX-512: it has none
    }
#endif
  return rates;
}

}  // namespace switchyard::bench
