// Two safetensors files, tensor by tensor.
#pragma once

#include <string>
#include <vector>

namespace switchyard::files {

struct Comparison {
  std::string text;  // a line for each tensor, and for each that only one file has; then how many differ
  bool is_equal = true;
};

// Floating tensors are equal if max |a - b| <= bound max |b| and norm(a - b) <= bound norm(b); integers if no entry
// differs. A tensor that only one file has is a difference. `only`: patterns of the names to compare; none: all.
// Error(usage) if no name matches.
Comparison compare(const std::string& path_a, const std::string& path_b, const std::vector<std::string>& only,
                   double bound);

}  // namespace switchyard::files
