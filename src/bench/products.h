// Rates of matrix products: ours, and the library's as it would spread them over threads itself.
#pragma once

#include "switchyard/bench/roof.h"
#include "switchyard/tensor/tensor.h"

namespace switchyard::bench {

struct ProductShape {
  int64_t groups, rows, outputs, inputs;
  double flops() const { return 2.0 * static_cast<double>(groups * rows * outputs) * static_cast<double>(inputs); }
};

// Random numbers in [-1, 1): constant or untouched memory would flatter, as its pages are one page in cache.
Tensor random_operand(Shape shape, DType dtype);

std::vector<ProductRate> product_rates(const ProductShape& shape, DType dtype, double seconds);
std::vector<ProductRate> library_rates(const ProductShape& shape, DType dtype, double seconds);  // one group

}  // namespace switchyard::bench
