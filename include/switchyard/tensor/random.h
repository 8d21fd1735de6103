// Counter-based random numbers: Philox4x32-10 (Salmon et al., SC 2011). A number is a pure function of
// (seed, purpose, global index), so it does not depend on the rank or the order in which numbers are drawn.
#pragma once

#include "switchyard/tensor/tensor.h"

#include <array>
#include <cstdint>
#include <string_view>

namespace switchyard {

std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// A stream of numbers for one purpose, for example "init/layers.3.attention.q.weight".
class Random {
 public:
  Random(uint64_t seed, std::string_view purpose);
  uint64_t bits(uint64_t index) const;                   // 64 random bits
  double uniform(uint64_t index) const;                  // [0, 1), 53 bits
  double normal(uint64_t index) const;                   // mean 0, variance 1 (Box-Muller)
  uint64_t below(uint64_t index, uint64_t bound) const;  // [0, bound), unbiased to 2^-64 bound

 private:
  std::array<uint32_t, 2> key_;
  std::array<uint32_t, 2> purpose_;
};

}  // namespace switchyard
