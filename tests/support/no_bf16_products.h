// Lets products run as on a processor without bf16 instructions, for its lifetime.
#pragma once

#include "kernels/products.h"

namespace switchyard::test {

class NoBf16Products {
 public:
  NoBf16Products() { kernels::pretend_no_bf16_products(true); }
  ~NoBf16Products() { kernels::pretend_no_bf16_products(false); }
  NoBf16Products(const NoBf16Products&) = delete;
  NoBf16Products& operator=(const NoBf16Products&) = delete;
};

}  // namespace switchyard::test
