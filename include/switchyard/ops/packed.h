// Packed copies of weights for the product kernels. A copy belongs to the weight's storage, is rebuilt at the first use
// of a version, and counts under Purpose::packed. The plain weight stays the truth.
#pragma once

#include "kernels/products.h"
#include "switchyard/base/scoped.h"
#include "switchyard/tensor/tensor.h"

namespace switchyard::ops {

// Weights as one of the row products should read them; valid until the weight changes or goes.
struct ProductWeights {
  const void* data;
  bool is_packed;
};

// w: contiguous, G x N x K elements. Packed if that pays for a product of `rows` rows, or has been done already.
ProductWeights product_weights(const Tensor& w, kernels::RowProduct product, int64_t G, int64_t N, int64_t K,
                               int64_t rows);

// Within its lifetime, on this rank, the weights met do not change and are met again: decoding. A packed copy then pays
// for any number of rows.
class ReusedWeights {
 public:
  ReusedWeights();

 private:
  Scoped<bool> on_;
};

}  // namespace switchyard::ops
