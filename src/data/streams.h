// The bytes of a file, unpacked on the way if its name ends in .gz or .zst.
#pragma once

#include "switchyard/data/corpus.h"

#include <memory>

namespace switchyard::data {

class ByteStream {
 public:
  virtual ~ByteStream() = default;
  virtual int64_t read(char* out, int64_t bytes) = 0;  // fewer only at the end, where it is 0 from then on
  virtual int64_t consumed() const = 0;                // bytes of the stored file read so far
};

// Errors (not what the name says, corrupt, cut, larger than the limits) are Error(input) and name file and byte.
std::unique_ptr<ByteStream> open_stream(const std::string& path, const ReadLimits& limits);

}  // namespace switchyard::data
