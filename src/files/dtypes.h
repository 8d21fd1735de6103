// The dtypes of the format, in the order in which a writer aligns them: lowest first.
#pragma once

#include "switchyard/base/dtype.h"

#include <string_view>

namespace switchyard::files {

constexpr int64_t kLargestHeader = 100'000'000;  // bytes; what the format's own reader takes

struct FileDtype {
  std::string_view name;
  int64_t bits;
};

const FileDtype* find_file_dtype(std::string_view name);  // null for a name that the format does not have
int64_t alignment_rank(DType dtype);                      // place in that order

}  // namespace switchyard::files
