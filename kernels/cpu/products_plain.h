// The products as plain loops: f64, which serves checks, and every dtype where the library cannot run (thread
// sanitizer).
#pragma once

#include "kernels/products.h"

namespace switchyard::kernels::plain {

void row_product(const RowProductArgs&);  // weights (G, N, K), packed or not
void weight_gradient(const WeightGradientArgs&);

}  // namespace switchyard::kernels::plain
