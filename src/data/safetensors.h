// The header of a safetensors file: u64 length, JSON of that length, then the tensors' bytes. Strict: what the rules of
// the format do not allow is Error(input).
#pragma once

#include "switchyard/base/file.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace switchyard::data {

struct StoredTensor {
  std::string dtype;  // as the file names it: I64, F32, ...
  std::vector<int64_t> shape;
  int64_t begin = 0, end = 0;  // bytes of the file
};

std::map<std::string, StoredTensor> read_safetensors_header(const File& file);

}  // namespace switchyard::data
