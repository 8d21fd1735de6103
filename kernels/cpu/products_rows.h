// Row products and weight gradients through the library's kernels.
#pragma once

#include "kernels/products.h"

namespace switchyard::kernels::library {

int64_t packed_group_bytes(const PackArgs&);  // of one expert's weights
void pack_weights(const PackArgs&);

int64_t row_product_scratch_bytes(const RowProductArgs&);
void row_product(const RowProductArgs&);

int64_t weight_gradient_scratch_bytes(const WeightGradientArgs&);
void weight_gradient(const WeightGradientArgs&);

}  // namespace switchyard::kernels::library
